//! Claim sets as the Ed-Fi products keep them, read into the table of grants that a realm has.
//!
//! The one place that is named after the products: [`dms`] reads the claims documents of the Data Management Service,
//! [`ods`] the security database of the ODS/API. Everything after it knows the neutral table only.

pub mod dms;
pub mod ods;

use crate::domain::{fault::Fault, grants::table::ClaimTable, policy_set::SourceFile};

/// Whose metadata it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// The Data Management Service: claims documents and fragments, JSON.
    Dms,
    /// The ODS/API: its security database, exported as SQL or XML.
    Ods,
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// The table.
    pub table: ClaimTable,
    /// What was left out or changed on the way, with its place.
    pub notes: Vec<Fault>,
}

impl Product {
    /// What the name stands for.
    pub fn title(self) -> &'static str {
        match self {
            Self::Dms => "Ed-Fi Data Management Service",
            Self::Ods => "Ed-Fi ODS/API",
        }
    }

    /// Whose metadata the content looks like: JSON is the Data Management Service's, anything else the ODS/API's.
    pub fn of(content: &str) -> Self {
        let content = content.trim_start_matches('\u{feff}').trim_start();
        if content.starts_with('{') { Self::Dms } else { Self::Ods }
    }
}

/// Reads the files of one product into one table. Without a product, the content decides.
///
/// # Errors
/// Every fault with file and place: what cannot be read, what contradicts itself, files of both products.
pub fn read(product: Option<Product>, files: &[SourceFile]) -> Result<Imported, Vec<Fault>> {
    let product = match (product, files) {
        (Some(product), _) => product,
        (None, []) => return Err(vec![Fault::in_file(".", "there is no file to read")]),
        (None, [first, rest @ ..]) => {
            let product = Product::of(&first.content);
            let other = rest.iter().filter(|file| Product::of(&file.content) != product);
            let message =
                format!("is none of the {}, as `{}` is; import one product at a time", product.title(), first.path);
            let faults: Vec<_> = other.map(|file| Fault::in_file(&file.path, message.as_str())).collect();
            if !faults.is_empty() {
                return Err(faults);
            }
            product
        }
    };
    match product {
        Product::Dms => dms::read(files),
        Product::Ods => ods::read(files),
    }
}

/// The faults of claims that are no forest.
fn tangled(table: &ClaimTable, file: &str, fold: impl Fn(&str) -> String) -> Vec<Fault> {
    let tangles = table.tangles(fold).into_iter();
    tangles.map(|(claim, what)| Fault::in_file(file, format!("claim `{claim}`: {what}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: &str) -> SourceFile {
        SourceFile { path: path.to_owned(), content: content.to_owned() }
    }

    #[test]
    fn the_content_tells_the_product() {
        assert_eq!(Product::of("\u{feff} {\"claimSets\": []}"), Product::Dms);
        assert_eq!(Product::of("\n<SecurityMetadata/>"), Product::Ods);
        assert_eq!(Product::of("--\n-- PostgreSQL database dump"), Product::Ods);
    }

    #[test]
    fn two_products_at_once_are_refused() {
        let faults = read(None, &[file("a.json", "{}"), file("b.sql", "COPY")]).unwrap_err();
        let expected =
            "b.sql: is none of the Ed-Fi Data Management Service, as `a.json` is; import one product at a time";
        assert_eq!(
            faults.iter().map(|fault| format!("{}: {}", fault.file, fault.message)).collect::<Vec<_>>(),
            [expected]
        );
        assert_eq!(read(None, &[]).unwrap_err().len(), 1);
    }
}
