//! What came of all scenarios, in counts and in words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::cases::{Request, Scenario};
use crate::drive::{Finding, Mistake};

/// The findings of all suites.
#[derive(Debug, Default)]
pub(crate) struct Report {
    suites: BTreeMap<String, Score>,
    mistakes: Vec<(String, Mistake)>,
    /// How many scenarios need what.
    missing: BTreeMap<String, usize>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Score {
    passed: usize,
    failed: usize,
    left_out: usize,
    decisions: Share,
    visible: Share,
    problems: Share,
    /// Problem details among the scenarios that were run.
    problems_run: usize,
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
        score.problems_run += requests(scenario).filter(|request| request.is_graded_by_problem()).count();
        if finding.is_failed {
            score.failed += 1;
        } else {
            score.passed += 1;
        }
        let place = format!("{} `{}`", scenario.id, scenario.name);
        self.mistakes.extend(finding.mistakes.into_iter().map(|mistake| (place.clone(), mistake)));
    }

    /// Notes a scenario that needs what is yet to come.
    pub(crate) fn leave_out(&mut self, suite: &str, scenario: &Scenario, missing: BTreeSet<&'static str>) {
        let score = self.suites.entry(suite.to_owned()).or_default();
        score.count(scenario);
        score.left_out += 1;
        let missing = missing.into_iter().collect::<Vec<_>>().join(" and ");
        *self.missing.entry(missing).or_default() += 1;
    }

    /// Every scenario was run and came out as expected, literal problem details included.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_good_so_far() && self.missing.is_empty()
    }

    /// Nothing that was run came out otherwise, and something was run.
    pub(crate) fn is_good_so_far(&self) -> bool {
        self.mistakes.is_empty() && self.total().passed > 0
    }

    fn total(&self) -> Score {
        let mut total = Score::default();
        for score in self.suites.values() {
            total.passed += score.passed;
            total.failed += score.failed;
            total.left_out += score.left_out;
            total.problems_run += score.problems_run;
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
            let Score { passed, failed, left_out, .. } = score;
            writeln!(f, "{suite}: {passed} passed, {failed} failed, {left_out} left out; {score}")?;
        }
        for (place, Mistake { step, expected, got }) in &self.mistakes {
            writeln!(f, "\n{place}\n  {step}\n  expected {expected}\n  got      {got}")?;
        }
        let total = self.total();
        let Score { passed, failed, left_out, .. } = total;
        writeln!(f, "\nscenarios: {passed} passed, {failed} failed, {left_out} need what is yet to come")?;
        for (what, count) in &self.missing {
            writeln!(f, "  {count} need {what}")?;
        }
        writeln!(f, "{total}")
    }
}
