//! Realms and their policies: shown, checked, reloaded, rolled back.

pub mod reload;
pub mod rollback;
pub mod status;
pub mod watch;

use crate::{
    app::{
        App,
        error::{Error, Kind},
    },
    domain::{
        fault::{Code, Fault},
        id::PolicyVersion,
        lint,
        policy_set::SourceFile,
        policy_test::{self, CaseResult},
        variant,
    },
};

/// What a check of a candidate set found.
#[derive(Debug, Default)]
pub struct Validation {
    /// The faults; none when the set is good.
    pub faults: Vec<Fault>,
    /// What is worth a look in a set that is good.
    pub warnings: Vec<Fault>,
    /// The digest, when the set is good.
    pub version: Option<PolicyVersion>,
    /// What came of the realm's own tests.
    pub tests: Vec<CaseResult>,
}

/// The most files of a candidate set.
pub const FILES_MAX: usize = 1_000;
/// The most bytes of a candidate set.
pub const FILES_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Compiles a candidate set, with all its variants, looks at what it says, and runs its tests. The digest is that of the
/// named variant.
pub fn validate(files: &[SourceFile], variant: Option<&str>) -> Validation {
    let checked = lint::check(files);
    let version =
        checked.realms.into_iter().find(|realm| realm.variant.as_deref() == variant).map(|realm| realm.version);
    let (mut faults, warnings): (Vec<Fault>, Vec<Fault>) = checked.faults.into_iter().partition(Fault::is_error);
    // One that isn't there is a fault of its own.
    if let Some(missing) = variant.filter(|name| !variant::names(files).contains(name)) {
        faults.extend(variant::apply(files, missing).err().into_iter().flatten());
    }
    let tests = if faults.is_empty() { policy_test::run(files) } else { Ok(Vec::new()) };
    let tests = tests.unwrap_or_else(|found| {
        faults.extend(found);
        Vec::new()
    });
    let version = version.filter(|_| faults.is_empty());
    Validation { faults, warnings, version, tests }
}

/// Whether a candidate set is not too large; `field` names it.
///
/// # Errors
/// Too many files or bytes, or none.
pub(super) fn check_size(files: &[SourceFile], field: &str) -> Result<(), Error> {
    let bytes: usize = files.iter().map(|file| file.path.len() + file.content.len()).sum();
    if (1..=FILES_MAX).contains(&files.len()) && bytes <= FILES_BYTES_MAX {
        return Ok(());
    }
    let message = format!(
        "has {} files of {bytes} bytes, expected 1 to {FILES_MAX} of at most {FILES_BYTES_MAX} bytes together",
        files.len()
    );
    Err(Error::invalid_field(field, message))
}

impl App {
    /// Checks a candidate set and changes nothing.
    ///
    /// # Errors
    /// Too many files or bytes, or none.
    pub async fn validate_policies(&self, files: Vec<SourceFile>) -> Result<Validation, Error> {
        check_size(&files, "files")?;
        tokio::task::spawn_blocking(move || validate(&files, None)).await.map_err(|error| {
            Error::new(Kind::Internal, "VALIDATION_FAILED", format!("the check could not be finished: {error}"))
        })
    }
}

/// The faults of files, their failing tests among them.
pub fn faults_of(files: &[SourceFile], variant: Option<&str>) -> Vec<Fault> {
    faults_and_warnings(files, variant).0
}

/// The faults of files, their failing tests among them, and what is worth a look in files that are good.
pub(super) fn faults_and_warnings(files: &[SourceFile], variant: Option<&str>) -> (Vec<Fault>, Vec<Fault>) {
    let Validation { mut faults, warnings, version: _, tests } = validate(files, variant);
    for case in tests.iter().filter(|case| !case.differences.is_empty()) {
        let message = format!("test `{}` fails: {}", case.name, case.differences.join("; "));
        faults.push(Fault::in_file(&case.file, message).coded(Code::FailingTest));
    }
    (faults, warnings)
}
