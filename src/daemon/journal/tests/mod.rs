mod double;
mod faults;
mod files;
mod loss;
mod model;
mod rounds;
mod workers;
