//! The product's XML of claims: `SecurityMetadata`, `Claims`, `Claim`, with defaults, claim sets and further claims inside.
//!
//! Applied as the product's own generator applies it: a claim that is missing is made below the one around it, one that
//! stands elsewhere is moved there; a `DefaultAuthorization` replaces all defaults of the claim, `Actions` all that the
//! claim set is granted on it; what a file doesn't mention stays.

use std::sync::Arc;

use roxmltree::{Document, Node};

use super::granted;
use crate::domain::{
    fault::Fault,
    grants::table::{Claim, ClaimTable, Granted},
    policy_set::SourceFile,
};

/// The deepest nesting of elements that is read.
const DEPTH_MAX: usize = 64;

/// Changes the table as the file says; returns faults and notes.
pub(super) fn apply(file: &SourceFile, table: &mut ClaimTable) -> (Vec<Fault>, Vec<Fault>) {
    let document = match Document::parse(&file.content) {
        Ok(document) => document,
        Err(error) => {
            return (vec![Fault::in_file(&file.path, format!("line {}: {error}", error.pos().row))], Vec::new());
        }
    };
    let root = document.root_element();
    let mut change = Change { file, table, faults: Vec::new(), notes: Vec::new() };
    if root.tag_name().name() == "SecurityMetadata" {
        let claims = change.children(root, &["Claims"]);
        for claims in claims {
            change.claims(claims, None);
        }
    } else {
        let message = format!("`{}` is the outermost element, expected `SecurityMetadata`", root.tag_name().name());
        change.fault(root, &message);
    }
    (change.faults, change.notes)
}

struct Change<'a> {
    file: &'a SourceFile,
    table: &'a mut ClaimTable,
    faults: Vec<Fault>,
    notes: Vec<Fault>,
}

impl Change<'_> {
    fn at(&self, node: Node<'_, '_>, message: &str) -> Fault {
        let line = node.document().text_pos_at(node.range().start).row;
        Fault::in_file(&self.file.path, format!("line {line}: {message}"))
    }

    fn fault(&mut self, node: Node<'_, '_>, message: &str) {
        let fault = self.at(node, message);
        self.faults.push(fault);
    }

    /// The elements inside; one of another name is a fault.
    fn children<'n>(&mut self, node: Node<'n, 'n>, names: &[&str]) -> Vec<Node<'n, 'n>> {
        let mut found = Vec::new();
        for child in node.children().filter(Node::is_element) {
            let name = child.tag_name().name();
            if names.contains(&name) {
                found.push(child);
            } else {
                self.fault(
                    child,
                    &format!("`{name}` inside `{}`, expected {}", node.tag_name().name(), names.join(", ")),
                );
            }
        }
        found
    }

    fn name(&mut self, node: Node<'_, '_>) -> Option<Arc<str>> {
        let name = node.attribute("name").map(str::trim).filter(|name| !name.is_empty()).map(Arc::from);
        if name.is_none() {
            self.fault(node, &format!("`{}` without a name", node.tag_name().name()));
        }
        name
    }

    fn claims(&mut self, claims: Node<'_, '_>, parent: Option<&Arc<str>>) {
        if claims.ancestors().count() > DEPTH_MAX {
            return self.fault(claims, "claims are nested too deep");
        }
        for node in self.children(claims, &["Claim"]) {
            let Some(name) = self.name(node) else { continue };
            let place = self.claim(node, &name, parent);
            for part in self.children(node, &["DefaultAuthorization", "ClaimSets", "Claims"]) {
                match part.tag_name().name() {
                    "DefaultAuthorization" => {
                        let defaults = self.actions(part, "AuthorizationStrategies").into_iter();
                        let defaults = defaults.map(|(action, list)| (action, list.unwrap_or_default())).collect();
                        if let Some(claim) = self.table.claims.get_mut(place) {
                            claim.defaults = defaults;
                        }
                    }
                    "ClaimSets" => self.claim_sets(part, place),
                    _ => self.claims(part, Some(&name)),
                }
            }
        }
    }

    /// The place of the claim in the table, below this parent.
    fn claim(&mut self, node: Node<'_, '_>, name: &Arc<str>, parent: Option<&Arc<str>>) -> usize {
        let Some(place) = self.table.claims.iter().position(|claim| claim.name == *name) else {
            let claim = Claim { name: Arc::clone(name), parent: parent.cloned(), ..Claim::default() };
            self.table.claims.push(claim);
            return self.table.claims.len() - 1;
        };
        let moved = self.table.claims.get_mut(place).filter(|claim| claim.parent.as_ref() != parent);
        let from = moved.map(|claim| std::mem::replace(&mut claim.parent, parent.cloned()));
        if let Some(from) = from {
            let told = |parent: Option<&Arc<str>>| parent.map_or("the top".to_owned(), |name| format!("`{name}`"));
            let note = format!("claim `{name}` is moved from {} to {}", told(from.as_ref()), told(parent));
            let note = self.at(node, &note);
            self.notes.push(note);
        }
        place
    }

    fn claim_sets(&mut self, part: Node<'_, '_>, place: usize) {
        for node in self.children(part, &["ClaimSet"]) {
            let Some(name) = self.name(node) else { continue };
            if !self.table.claim_sets.contains(&name) {
                self.table.claim_sets.push(Arc::clone(&name));
            }
            for actions in self.children(node, &["Actions"]) {
                let actions = self.actions(actions, "AuthorizationStrategyOverrides");
                if let Some(claim) = self.table.claims.get_mut(place) {
                    *granted(&mut claim.claim_sets, &name) = actions;
                    claim.claim_sets.retain(|(_, granted)| !granted.is_empty());
                }
            }
        }
    }

    fn actions(&mut self, part: Node<'_, '_>, strategies: &str) -> Granted {
        let mut found = Granted::new();
        for node in self.children(part, &["Action"]) {
            let Some(action) = self.name(node) else { continue };
            if found.iter().any(|(other, _)| *other == action) {
                self.fault(node, &format!("action `{action}` stands twice"));
            }
            let mut names = Vec::new();
            for list in self.children(node, &[strategies]) {
                for strategy in self.children(list, &["AuthorizationStrategy"]) {
                    names.extend(self.name(strategy));
                }
            }
            found.push((action, Some(names).filter(|names| !names.is_empty())));
        }
        found
    }
}
