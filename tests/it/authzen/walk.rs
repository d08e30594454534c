//! docs/authzen.md, followed as it is written.

use crate::pages;

#[test]
fn the_page_is_as_it_says() {
    pages::follow("authzen.md", 25);
}
