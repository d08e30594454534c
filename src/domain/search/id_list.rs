//! Many ids in little memory.

use std::ops::Range;

/// Ids one after the other in one text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdList {
    text: String,
    /// Where each id ends.
    ends: Vec<usize>,
}

impl IdList {
    /// Adds an id at the end.
    pub fn push(&mut self, id: &str) {
        self.text.push_str(id);
        self.ends.push(self.text.len());
    }

    /// The id at a place.
    pub fn get(&self, place: usize) -> Option<&str> {
        self.text.get(self.range(place)?)
    }

    /// How many ids there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// There is no id.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The memory that it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.text.len() + size_of_val(self.ends.as_slice())
    }

    /// The same ids in the order of their bytes, each once.
    #[must_use]
    pub fn sorted(&self) -> Self {
        let mut ids: Vec<&str> = (0..self.len()).filter_map(|place| self.get(place)).collect();
        ids.sort_unstable();
        ids.dedup();
        let bytes = ids.iter().map(|id| id.len()).sum();
        let mut sorted = Self { text: String::with_capacity(bytes), ends: Vec::with_capacity(ids.len()) };
        for id in ids {
            sorted.push(id);
        }
        sorted
    }

    fn range(&self, place: usize) -> Option<Range<usize>> {
        let start = match place.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        Some(start..*self.ends.get(place)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_sorted_and_once() {
        let mut ids = IdList::default();
        assert!(ids.is_empty() && ids.get(0).is_none());
        for id in ["b", "", "a", "ä", "b", "10", "9"] {
            ids.push(id);
        }
        let sorted = ids.sorted();
        let listed: Vec<_> = (0..sorted.len()).filter_map(|place| sorted.get(place)).collect();
        assert_eq!(listed, ["", "10", "9", "a", "b", "ä"]);
        assert_eq!((ids.get(3), ids.get(7), ids.len()), (Some("ä"), None, 7));
    }
}
