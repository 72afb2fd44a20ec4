//! `moonkeep.store`: values that outlive their script.
//!
//! The open database is a value that whoever works with it has taken out of its slot: one at a time, on a helper thread,
//! because a disk may let it wait. A cancelled call loses it, and the next one opens it anew. Other processes of the same
//! script (two generations during a reload) are kept apart by SQLite's own lock.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

use mlua::{Function as LuaFunction, Lua, MultiValue, Value};
use tokio::sync::Semaphore;

use super::errors::INTERNAL_CHUNK;
use super::failure::failure;
use super::modules::misuse;
use super::{Context, Function, Module, Param, objects, own};

mod database;
mod work;

use database::{Database, Trouble};
use work::{Verb, Work};

/// `moonkeep.store`
pub const MODULE: Module = Module {
    name: "moonkeep.store",
    summary: "Values that outlive the script: restarts, crashes and power losses. Each script and each plugin has its own.",
    types: TYPES,
    functions: &[
        Function {
            name: "get",
            params: &[
                KEY,
                Param {
                    name: "default?",
                    kind: "any",
                    doc: "given if there is no such key",
                },
            ],
            returns: &["any"],
            doc: "The value of a key, or the default.",
            yields: true,
            make: |lua, context| single(lua, context, Verb::Get),
        },
        Function {
            name: "set",
            params: &[
                KEY,
                Param {
                    name: "value",
                    kind: "any",
                    doc: "what JSON can say, at most 256 KiB of it; nil deletes",
                },
            ],
            returns: &[],
            doc: "Keeps a value. Once it has returned, the value is on the disk.",
            yields: true,
            make: |lua, context| single(lua, context, Verb::Set),
        },
        Function {
            name: "delete",
            params: &[KEY],
            returns: &["boolean"],
            doc: "Forgets a key; whether it was there.",
            yields: true,
            make: |lua, context| single(lua, context, Verb::Delete),
        },
        Function {
            name: "keys",
            params: &[Param {
                name: "prefix?",
                kind: "string",
                doc: "only those that begin so",
            }],
            returns: &["string[]"],
            doc: "The keys, sorted.",
            yields: true,
            make: |lua, context| single(lua, context, Verb::Keys),
        },
        Function {
            name: "incr",
            params: &[
                KEY,
                Param {
                    name: "by?",
                    kind: "number",
                    doc: "default 1; may be negative",
                },
            ],
            returns: &["number"],
            doc: "Adds to a number, 0 if there is none, and gives the sum. Nobody else's change is lost between.",
            yields: true,
            make: |lua, context| single(lua, context, Verb::Incr),
        },
        Function {
            name: "transaction",
            params: &[Param {
                name: "run",
                kind: "fun(tx: moonkeep.store.Transaction): any",
                doc: "reads and writes through `tx`; it may not wait",
            }],
            returns: &["any"],
            doc: "All that the function writes, or nothing: if it raises an error, nothing has changed, and the error goes \
                  on. Nobody else writes meanwhile. Gives what the function returns.",
            yields: true,
            make: |lua, context| transaction(lua, context),
        },
    ],
};

const KEY: Param = Param {
    name: "key",
    kind: "string",
    doc: "1 to 512 bytes",
};

const TYPES: &str = r"---@class moonkeep.store.Transaction
---@field get fun(key: string, default?: any): any
---@field set fun(key: string, value: any)
---@field delete fun(key: string): boolean
---@field keys fun(prefix?: string): string[]
---@field incr fun(key: string, by?: number): number
";

/// The store of one script, shared by its functions.
struct Store {
    path: PathBuf,
    /// Who may work with it now.
    turn: Semaphore,
    slot: RefCell<Option<Database>>,
}

impl Store {
    /// The one of this state.
    fn of(lua: &Lua, context: &Context) -> Rc<Store> {
        if let Some(store) = lua.app_data_ref::<Rc<Store>>() {
            return Rc::clone(&store);
        }
        let store = Rc::new(Store {
            path: context.state_dir.join(FILE),
            turn: Semaphore::new(1),
            slot: RefCell::new(None),
        });
        lua.set_app_data(Rc::clone(&store));
        store
    }

    /// Does something with the database on a helper thread. Not cancel safe for the database, which is lost then;
    /// what was begun happens whole or not at all.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Database) -> Result<T, Trouble> + Send + 'static,
    ) -> mlua::Result<T> {
        let open = self.slot.take();
        let path = self.path.clone();
        let done = tokio::task::spawn_blocking(move || {
            let mut database = match open {
                Some(database) => database,
                None => Database::open(&path)?,
            };
            let result = work(&mut database);
            Ok::<_, Trouble>((database, result))
        });
        let done = done.await.map_err(mlua::Error::external)?;
        let (database, result) = done.map_err(|trouble| self.told(trouble))?;
        self.slot.replace(Some(database));
        result.map_err(|trouble| self.told(trouble))
    }

    fn told(&self, trouble: Trouble) -> mlua::Error {
        match trouble {
            Trouble::Misuse(why) => misuse(format!("store: {why}")),
            Trouble::Disk(why) => failure(format!("{}: {why}", self.path.display())),
        }
    }
}

const FILE: &str = "store.db";

fn single(lua: &Lua, context: &Rc<Context>, verb: Verb) -> mlua::Result<Value> {
    let context = Rc::clone(context);
    let call = move |lua: Lua, arguments: MultiValue| {
        let store = Store::of(&lua, &context);
        async move {
            let work = Work::new(&lua, verb, arguments)?;
            let turn = store.turn.acquire().await;
            let answer = store.with(move |database| work.perform(database)).await?;
            drop(turn);
            answer.into_lua(&lua)
        }
    };
    lua.create_async_function(call).map(Value::Function)
}

fn transaction(lua: &Lua, context: &Rc<Context>) -> mlua::Result<Value> {
    let context = Rc::clone(context);
    let call = move |lua: Lua, (pcall, run): (LuaFunction, LuaFunction)| {
        let store = Store::of(&lua, &context);
        async move {
            let turn = store.turn.acquire().await;
            store.with(Database::begin).await?;
            let results = attempt(&lua, &store, &pcall, &run);
            match &results {
                Ok(results) if results.front() == Some(&Value::Boolean(true)) => {
                    store.with(Database::commit).await?;
                }
                Ok(_) | Err(_) => store.with(Database::roll_back).await?,
            }
            drop(turn);
            results
        }
    };
    let inner = lua.create_async_function(call)?;
    own::load(lua, INTERNAL_CHUNK, include_str!("transaction.lua"))?.call(inner)
}

/// Runs the script's function between begin and end; gives what `pcall` does. It cannot wait, so nobody else runs
/// meanwhile.
fn attempt(
    lua: &Lua,
    store: &Store,
    pcall: &LuaFunction,
    run: &LuaFunction,
) -> mlua::Result<MultiValue> {
    let lent = Rc::new(RefCell::new(store.slot.take()));
    let tx = lua.create_table()?;
    for verb in Verb::ALL {
        tx.raw_set(verb.name(), inside(lua, verb, &lent)?)?;
    }
    let results = pcall.call::<MultiValue>((run, tx));
    store.slot.replace(lent.take());
    let results = results?;
    let told = results.get(1).and_then(|told| told.to_string().ok());
    if results.front() == Some(&Value::Boolean(false))
        && told.is_some_and(|told| told.contains("attempt to yield"))
    {
        return Err(misuse(
            "store.transaction: its function may not wait; fetch and sleep before it or after it",
        ));
    }
    Ok(results)
}

/// `tx.get` and its like.
fn inside(lua: &Lua, verb: Verb, lent: &Rc<RefCell<Option<Database>>>) -> mlua::Result<Value> {
    let lent = Rc::clone(lent);
    let function = lua.create_function(move |lua, arguments: MultiValue| {
        let work = Work::new(lua, verb, arguments)?;
        let mut lent = lent.borrow_mut();
        let Some(database) = lent.as_mut() else {
            return Err(misuse(
                "store: the transaction is over; use `tx` only inside its function",
            ));
        };
        let answer = work.perform(database).map_err(|trouble| match trouble {
            Trouble::Misuse(why) => misuse(format!("store: {why}")),
            Trouble::Disk(why) => failure(format!("store: {why}")),
        })?;
        answer.into_lua(lua)
    })?;
    objects::guarded(lua, "store.transaction", function).map(Value::Function)
}
