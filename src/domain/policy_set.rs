//! Policy files and schema compiled into one checked set.

/// A file of a realm's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// The path within the folder, with `/`.
    pub path: String,
    /// The content.
    pub content: String,
}
