//! Proves claims about policies, or finds requests that contradict them.
//!
//! The kinds of requests are shared out among jobs, each with a solver of its own. Formulas that differ in names alone come
//! out as the same script, which is solved once: of a thousand kinds of requests a few dozen formulas are left.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use cedar_policy_symcc::{
    CedarSymCompiler, ResetMode, SmtLibScript as _, err,
    solver::{Decision, DecisionWithModel, Solver, SolverError},
};
use tokio::{io::AsyncWrite, runtime::Handle, task::JoinSet};

use super::ports::{FormulaSolver, Solved};
use crate::domain::proof::{
    Kind,
    claim::{Claim, Formula, Inquiry, Role, Step, said},
    counterexample::Counterexample,
};

/// What is known of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The claim.
    pub claim: Claim,
    /// How many kinds of requests it is about.
    pub kinds: usize,
    /// Whether it holds.
    pub answer: Answer,
}

/// Whether a claim holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// For every request.
    Proved,
    /// Not for this one.
    False(Box<Counterexample>),
    /// An invariant that no request matches: it says nothing.
    Vacuous,
    /// It is not known for some kinds of requests: each with the reason, in order.
    Unknown(Vec<(String, String)>),
}

/// All findings, in the order of the claims, and what they took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// One for each claim.
    pub findings: Vec<Finding>,
    /// How many formulas there were.
    pub formulas: usize,
    /// How many of them went to a solver: the others were settled by how they are built, or were known from another kind.
    pub solved: usize,
}

/// The answers to scripts that were solved before.
#[derive(Debug, Default)]
struct Known {
    answers: Mutex<HashMap<String, Solved>>,
    formulas: AtomicUsize,
    solved: AtomicUsize,
}

/// What one kind of request says of a claim.
#[derive(Debug)]
enum Said {
    Proved,
    Nothing,
    False(Box<Counterexample>),
    Unknown(String),
}

/// Finds out about claims, as many kinds of requests at once as there are solvers. After each kind, `progress` hears how
/// many are done.
///
/// # Errors
/// Jobs that did not come to an end.
pub async fn prove(
    inquiry: Arc<Inquiry>,
    claims: Vec<Claim>,
    solvers: Vec<Box<dyn FormulaSolver>>,
    progress: impl Fn(usize) + Send + Sync + 'static,
) -> Result<Report, String> {
    let (known, next) = (Arc::new(Known::default()), Arc::new(AtomicUsize::new(0)));
    let (claims, progress) = (Arc::new(claims), Arc::new(progress));
    let done = Arc::new(AtomicUsize::new(0));
    let mut jobs = JoinSet::new();
    for solver in solvers {
        let (inquiry, claims, known) = (Arc::clone(&inquiry), Arc::clone(&claims), Arc::clone(&known));
        let (next, done, progress) = (Arc::clone(&next), Arc::clone(&done), Arc::clone(&progress));
        let runtime = Handle::current();
        // Most of the time goes into making formulas.
        jobs.spawn_blocking(move || {
            let mut found = Vec::new();
            let mut job = Job::new(solver, known)?;
            while let Some(kind) = inquiry.kinds().get(next.fetch_add(1, Ordering::Relaxed)) {
                for (claim, steps) in inquiry.questions(kind, &claims) {
                    let said = runtime.block_on(job.find_out(&inquiry, claim, kind, steps));
                    found.push((claim, kind.to_string(), said));
                }
                progress(done.fetch_add(1, Ordering::Relaxed) + 1);
            }
            Ok::<_, String>(found)
        });
    }
    let mut found: HashMap<Claim, Vec<(String, Said)>> = HashMap::new();
    while let Some(job) = jobs.join_next().await {
        for (claim, kind, said) in job.map_err(|error| format!("a job of the proof ended early: {error}"))?? {
            found.entry(claim).or_default().push((kind, said));
        }
    }
    let findings = claims.iter().map(|claim| finding(*claim, found.remove(claim).unwrap_or_default())).collect();
    let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    Ok(Report { findings, formulas: count(&known.formulas), solved: count(&known.solved) })
}

/// One counterexample is enough, then what is not known, then whether any kind was spoken about at all.
fn finding(claim: Claim, mut found: Vec<(String, Said)>) -> Finding {
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    let kinds = found.iter().filter(|(_, said)| !matches!(said, Said::Nothing)).count();
    let is_empty = kinds == 0 && matches!(claim, Claim::Invariant(_));
    let mut unknown = Vec::new();
    for (kind, said) in found {
        match said {
            Said::False(example) => return Finding { claim, kinds, answer: Answer::False(example) },
            Said::Unknown(why) => unknown.push((kind, why)),
            Said::Proved | Said::Nothing => {}
        }
    }
    let answer = match (unknown.is_empty(), is_empty) {
        (false, _) => Answer::Unknown(unknown),
        (true, true) => Answer::Vacuous,
        (true, false) => Answer::Proved,
    };
    Finding { claim, kinds, answer }
}

/// Hands what the symbolic compiler writes to a solver, unless the answer is known.
#[derive(Debug)]
struct Relay {
    script: Vec<u8>,
    solver: Box<dyn FormulaSolver>,
    known: Arc<Known>,
}

/// A job's compiler, with its solver.
#[derive(Debug)]
struct Job(CedarSymCompiler<Relay>);

impl Relay {
    async fn solve(&mut self) -> Solved {
        let script = without_comments(&String::from_utf8_lossy(&std::mem::take(&mut self.script)));
        let answers =
            |known: &Known| known.answers.lock().unwrap_or_else(PoisonError::into_inner).get(&script).cloned();
        if let Some(answer) = answers(&self.known) {
            return answer;
        }
        self.known.solved.fetch_add(1, Ordering::Relaxed);
        let answer = self.solver.solve(&script).await;
        self.known.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(script, answer.clone());
        answer
    }
}

/// The names that a script is about stand in lines of comments alone.
fn without_comments(script: &str) -> String {
    let lines = script.lines().filter(|line| !line.starts_with(';'));
    lines.flat_map(|line| [line, "\n"]).collect()
}

impl Job {
    fn new(solver: Box<dyn FormulaSolver>, known: Arc<Known>) -> Result<Self, String> {
        let compiler = CedarSymCompiler::new(Relay { script: Vec::new(), solver, known });
        // Each script stands alone.
        compiler.map(|compiler| Self(compiler.with_reset_mode(ResetMode::Comment))).map_err(|error| said(&error))
    }

    /// What a kind of request says of a claim: the first step that settles it does.
    async fn find_out(&mut self, inquiry: &Inquiry, claim: Claim, kind: &Kind, steps: Vec<Step>) -> Said {
        for Step { role, formula } in steps {
            let solved = match formula {
                Ok(formula) => self.solve(&formula).await,
                Err(why) => Err(why),
            };
            match (solved, &role) {
                (Ok(None), Role::SaysNothing) => return Said::Nothing,
                (Ok(None), _) | (Ok(Some(_)), Role::SaysNothing) => {}
                (Ok(Some(_)), Role::Guard(policy)) => {
                    let why = "may fail to evaluate, which denies here and is skipped in Cedar";
                    return Said::Unknown(format!("the forbid `{policy}` {why}"));
                }
                (Ok(Some(env)), Role::Claim | Role::SpeaksClearly) => {
                    return match inquiry.counterexample(claim, &role, kind, &env) {
                        Ok(example) => Said::False(Box::new(example)),
                        Err(why) => Said::Unknown(why),
                    };
                }
                (Err(why), _) => return Said::Unknown(why),
            }
        }
        Said::Proved
    }

    async fn solve(&mut self, formula: &Formula) -> Result<Option<cedar_policy_symcc::Env>, String> {
        self.0.solver().known.formulas.fetch_add(1, Ordering::Relaxed);
        self.0.check_sat(&formula.asserts()).await.map_err(|error| match error {
            err::Error::SolverError(SolverError::Solver(why)) => why,
            error => said(&error),
        })
    }
}

impl Solver for Relay {
    fn smtlib_input(&mut self) -> &mut (dyn AsyncWrite + Unpin + Send) {
        &mut self.script
    }

    async fn enable_models(&mut self) -> Result<(), SolverError> {
        Ok(self.smtlib_input().set_option("produce-models", "true").await?)
    }

    async fn check_sat(&mut self) -> Result<Decision, SolverError> {
        Ok(match self.check_sat_with_model().await? {
            DecisionWithModel::Sat { .. } => Decision::Sat,
            DecisionWithModel::Unsat => Decision::Unsat,
            DecisionWithModel::Unknown => Decision::Unknown,
        })
    }

    async fn check_sat_with_model(&mut self) -> Result<DecisionWithModel, SolverError> {
        match self.solve().await {
            Solved::Satisfied(model) => Ok(DecisionWithModel::Sat { model }),
            Solved::Refuted => Ok(DecisionWithModel::Unsat),
            Solved::Unknown(why) => Err(SolverError::Solver(why)),
        }
    }
}

#[cfg(test)]
mod tests;
