//! docs/realms.md, followed as it is written.

mod reference;
mod todo;

use std::{fs, path::Path};

use crate::pages;

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/realms.md")).unwrap()
}

#[test]
fn the_page_is_as_it_says() {
    pages::follow("realms.md", 30);
}
