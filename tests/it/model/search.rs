//! Looks at every world that can be reached, nearest first, so that a counterexample is a shortest one.

use std::collections::HashMap;
use std::rc::Rc;

use super::action::{Action, Broken};
use super::rules::Rules;
use super::state::World;

/// What a whole exploration found.
#[derive(Debug)]
pub(super) struct Explored {
    pub(super) worlds: usize,
    pub(super) steps: usize,
    pub(super) broken: Option<Counterexample>,
}

/// The way to a broken promise.
#[derive(Debug)]
pub(super) struct Counterexample {
    pub(super) broken: Broken,
    pub(super) way: Vec<Action>,
}

impl Counterexample {
    /// One line a step.
    pub(super) fn text(&self) -> String {
        let lines: Vec<String> = self
            .way
            .iter()
            .enumerate()
            .map(|(number, action)| format!("{:>4}. {action}", number + 1))
            .collect();
        format!("{:?}:\n{}", self.broken, lines.join("\n"))
    }
}

struct Seen {
    world: Rc<World>,
    from: usize,
    by: Option<Action>,
}

/// Explores until `wanted` holds for a broken promise, or to the end.
///
/// Steps that are no faults never lead in a circle (each makes progress that only a fault undoes), so an
/// end that every quiet world has reached is reached by every run.
pub(super) fn explore(rules: &Rules, wanted: impl Fn(Broken) -> bool) -> Explored {
    let first = Rc::new(World::new(&rules.bounds));
    let mut known = HashMap::from([(Rc::clone(&first), 0_usize)]);
    let mut seen = vec![Seen {
        world: first,
        from: 0,
        by: None,
    }];
    let (mut next, mut steps) = (0, 0);
    while next < seen.len() {
        let world = Rc::clone(&seen[next].world);
        let actions = rules.actions(&world);
        if actions.iter().all(|action| action.is_fault())
            && let Err(broken) = rules.check_rest(&world)
            && wanted(broken)
        {
            return found(&seen, next, None, broken, steps);
        }
        for action in actions {
            steps += 1;
            let (after, broken) = rules.apply(&world, action);
            if let Some(broken) = broken.filter(|broken| wanted(*broken)) {
                return found(&seen, next, Some(action), broken, steps);
            }
            let after = Rc::new(after);
            let number = seen.len();
            if *known.entry(Rc::clone(&after)).or_insert(number) == number {
                seen.push(Seen {
                    world: after,
                    from: next,
                    by: Some(action),
                });
            }
        }
        next += 1;
    }
    Explored {
        worlds: seen.len(),
        steps,
        broken: None,
    }
}

fn found(
    seen: &[Seen],
    mut at: usize,
    last: Option<Action>,
    broken: Broken,
    steps: usize,
) -> Explored {
    let mut way: Vec<Action> = last.into_iter().collect();
    while let Some(action) = seen[at].by {
        way.push(action);
        at = seen[at].from;
    }
    way.reverse();
    Explored {
        worlds: seen.len(),
        steps,
        broken: Some(Counterexample { broken, way }),
    }
}
