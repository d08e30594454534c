//! What came of all scenarios, in counts and in words.

use std::collections::BTreeMap;
use std::fmt;

use crate::cases::{Request, Scenario};
use crate::drive::{Finding, Mistake};

/// The findings of all suites.
#[derive(Debug, Default)]
pub(crate) struct Report {
    suites: BTreeMap<String, Score>,
    mistakes: Vec<(String, Mistake)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Score {
    passed: usize,
    failed: usize,
    decisions: Share,
    visible: Share,
    problems: Share,
}

/// Some of all.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    right: usize,
    all: usize,
}

impl Report {
    /// Notes a scenario that was run.
    pub(crate) fn add(&mut self, suite: &str, scenario: &Scenario, finding: Finding) {
        let score = self.suites.entry(suite.to_owned()).or_default();
        score.count(scenario);
        score.decisions.right += finding.decisions_right;
        score.visible.right += finding.visible_right;
        score.problems.right += finding.problems_right;
        if finding.is_failed {
            score.failed += 1;
        } else {
            score.passed += 1;
        }
        let place = format!("{} `{}`", scenario.id, scenario.name);
        self.mistakes.extend(finding.mistakes.into_iter().map(|mistake| (place.clone(), mistake)));
    }

    /// Every scenario came out as expected, literal problem details included, and there was one.
    pub(crate) fn is_good(&self) -> bool {
        self.mistakes.is_empty() && self.total().passed > 0
    }

    fn total(&self) -> Score {
        let mut total = Score::default();
        for score in self.suites.values() {
            total.passed += score.passed;
            total.failed += score.failed;
            total.decisions.add(score.decisions);
            total.visible.add(score.visible);
            total.problems.add(score.problems);
        }
        total
    }
}

fn requests(scenario: &Scenario) -> impl Iterator<Item = &Request> {
    scenario.steps.iter().filter_map(|step| step.request())
}

impl Score {
    /// Counts what there is to be right about.
    fn count(&mut self, scenario: &Scenario) {
        self.decisions.all += requests(scenario).filter(|request| request.is_graded()).count();
        self.visible.all += requests(scenario).filter(|request| request.is_graded_by_what_it_shows()).count();
        self.problems.all += requests(scenario).filter(|request| request.is_graded_by_problem()).count();
    }
}

impl Share {
    fn add(&mut self, other: Self) {
        self.right += other.right;
        self.all += other.all;
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.right, self.all)
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { decisions, visible, problems, .. } = self;
        write!(f, "decisions {decisions} visible {visible} problems {problems}")
    }
}

/// A line for each suite, then the mistakes, then the counts; the last line is for machines.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (suite, score) in &self.suites {
            let Score { passed, failed, .. } = score;
            writeln!(f, "{suite}: {passed} passed, {failed} failed; {score}")?;
        }
        for (place, Mistake { step, expected, got }) in &self.mistakes {
            writeln!(f, "\n{place}\n  {step}\n  expected {expected}\n  got      {got}")?;
        }
        let total = self.total();
        let Score { passed, failed, .. } = total;
        writeln!(f, "\nscenarios: {passed} passed, {failed} failed")?;
        writeln!(f, "{total}")
    }
}
