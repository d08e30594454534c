//! Which known name was meant by one that is unknown.

/// The known name that is nearest to this one by slips of the keyboard; `None` where none is near.
pub(crate) fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let wanted: Vec<char> = name.to_lowercase().chars().take(LENGTH_MAX).collect();
    // A short name is near to many: one slip in three letters at most.
    let slips_max = (wanted.len() / 3).min(3);
    let others = known.into_iter().filter(|other| *other != name);
    let measured = others.map(|other| {
        let letters: Vec<char> = other.to_lowercase().chars().take(LENGTH_MAX).collect();
        (slips(&wanted, &letters), other)
    });
    measured.filter(|(slips, _)| *slips <= slips_max).min().map(|(_, other)| other)
}

/// The longest beginning of a name that is looked at.
const LENGTH_MAX: usize = 80;

/// How many letters must be put in, left out, changed or swapped with their neighbour (optimal string alignment).
fn slips(one: &[char], other: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX / 2);
    for (i, letter) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, wanted) in other.iter().enumerate() {
            let changed = at(&last, j) + usize::from(letter != wanted);
            let mut best = changed.min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let is_swapped = i > 0 && j > 0 && one.get(i - 1) == Some(wanted) && other.get(j - 1) == Some(letter);
            if is_swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    at(&last, other.len())
}

/// The nearest of the names that a message lists as what was expected: `unknown x `nmae`, expected one of name, title`.
pub(super) fn in_message(message: &str) -> Option<String> {
    let (before, listed) = message.split_once(", expected one of ")?;
    let mut quoted = before.rsplit('`');
    let given = quoted.nth(1)?;
    let given = given.rsplit('.').next().unwrap_or(given);
    let listed = listed.split(", ").flat_map(|part| part.split(" or "));
    let listed = listed.map(|name| name.trim_matches(['`', ' ', '.']));
    let bare = |name: &str| name.trim_start_matches('@').to_owned();
    let names: Vec<(String, &str)> = listed.map(|name| (bare(name), name)).collect();
    let found = nearest(given.trim_start_matches('@'), names.iter().map(|(bare, _)| bare.as_str()))?;
    names.iter().find(|(bare, _)| bare == found).map(|(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_keyboard_is_near_and_another_word_is_not() {
        let known = ["principal", "resources", "trusted", "title", "id"];
        for (name, expected) in [
            ("principle", Some("principal")),
            ("titel", Some("title")),
            ("Title", Some("title")),
            ("ressources", Some("resources")),
            ("is", None),
            ("actions", None),
            ("title", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, known), expected, "{name}");
        }
    }

    #[test]
    fn the_names_that_a_message_lists_are_known() {
        for (message, expected) in [
            ("unknown key `principal.entty`, expected one of entity, id, parents", Some("entity")),
            ("unknown annotation `@reson`, expected one of @id, @reason", Some("@reason")),
            ("no action applies to `Curse`, expected one of Course, `*` or `context`", Some("Course")),
            ("`a` is missing, expected a string", None),
            ("unknown key `zzz`, expected one of entity, id", None),
        ] {
            assert_eq!(in_message(message).as_deref(), expected, "{message}");
        }
    }
}
