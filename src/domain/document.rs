//! Reads TOML documents so that every fault names its key, line and what was expected.

use std::{cell::RefCell, ops::Range, rc::Rc, sync::Arc};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    fault::{Code, Fault},
    value::Value,
};

/// Collects the faults of one file.
#[derive(Clone, Debug)]
pub(crate) struct Faults<'a> {
    file: &'a str,
    content: &'a str,
    found: Rc<RefCell<Vec<Fault>>>,
}

impl<'a> Faults<'a> {
    pub(crate) fn new(file: &'a str, content: &'a str) -> Self {
        Self { file, content, found: Rc::default() }
    }

    pub(crate) fn add(&self, span: Option<Range<usize>>, message: impl Into<String>) {
        self.found.borrow_mut().push(Fault::at(self.file, self.content, span, message));
    }

    fn add_coded(&self, code: Code, span: Option<Range<usize>>, message: impl Into<String>) {
        self.found.borrow_mut().push(Fault::at(self.file, self.content, span, message).coded(code));
    }

    pub(crate) fn take(&self) -> Vec<Fault> {
        self.found.take()
    }
}

/// A table being read. What was not asked for by [`Table::finish`] is an unknown key.
#[derive(Debug)]
pub(crate) struct Table<'a> {
    path: String,
    span: Range<usize>,
    entries: &'a DeTable<'a>,
    faults: Faults<'a>,
    asked: RefCell<Vec<String>>,
    otherwise: RefCell<Vec<String>>,
}

/// Parses a document and hands its root to `read`.
pub(crate) fn read_document<T>(file: &str, content: &str, read: impl FnOnce(&Table<'_>) -> T) -> Result<T, Vec<Fault>> {
    let faults = Faults::new(file, content);
    let root = match DeTable::parse(content) {
        Ok(root) => root,
        Err(error) => {
            let fault = Fault::at(file, content, error.span(), error.message()).coded(Code::Syntax);
            let is_double = error.message() == "duplicate key";
            let fault = if is_double { fault.helped("join both into one, or give one another name") } else { fault };
            faults.found.borrow_mut().push(fault);
            return Err(faults.take());
        }
    };
    let span = root.span();
    let table = Table {
        path: String::new(),
        span,
        entries: root.get_ref(),
        faults: faults.clone(),
        asked: RefCell::default(),
        otherwise: RefCell::default(),
    };
    let value = read(&table);
    table.finish();
    let found = faults.take();
    if found.is_empty() { Ok(value) } else { Err(found) }
}

impl<'a> Table<'a> {
    fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn find(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.borrow_mut().push(key.to_owned());
        self.entries.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    /// Notes a fault at this table, or at one of its values.
    pub(crate) fn fault(&self, key: Option<&str>, message: impl Into<String>) {
        let value = key.and_then(|key| self.entries.iter().find(|(name, _)| name.get_ref() == key));
        self.faults.add(Some(value.map_or(self.span.clone(), |(_, value)| value.span())), message);
    }

    /// A fault at one of its values, or at this table, for whatever is found only after the document was read.
    pub(crate) fn unnoted_fault(&self, key: &str, message: impl Into<String>) -> Fault {
        Fault::at(self.faults.file, self.faults.content, Some(self.place(key)), message)
    }

    /// Where a value stands, for a fault that only shows beside other tables; the table itself if it has none.
    pub(crate) fn place(&self, key: &str) -> Range<usize> {
        let value = self.entries.iter().find(|(name, _)| name.get_ref() == key);
        value.map_or(self.span.clone(), |(_, value)| value.span())
    }

    /// Notes a fault at a place that was remembered.
    pub(crate) fn fault_at(&self, place: Range<usize>, message: impl Into<String>) {
        self.faults.add(Some(place), message);
    }

    fn wrong(&self, key: &str, value: &Spanned<DeValue<'_>>, expected: &str) {
        let found = value.get_ref().type_str();
        let message = format!("`{}` is of type {found}, expected {expected}", self.name(key));
        self.faults.add_coded(Code::WrongType, Some(value.span()), message);
    }

    fn missing<T>(&self, key: &str, found: Option<T>, expected: &str) -> Option<T> {
        if found.is_none() && !self.entries.iter().any(|(name, _)| name.get_ref() == key) {
            let message = format!("`{}` is missing, expected {expected}", self.name(key));
            // Of the document as a whole there is nothing to mark but its beginning.
            let span = if self.path.is_empty() { 0..0 } else { self.span.clone() };
            self.faults.add_coded(Code::MissingKey, Some(span), message);
        }
        found
    }

    pub(crate) fn text(&self, key: &str) -> Option<Arc<str>> {
        let value = self.find(key)?;
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong(key, value, "a string");
        }
        text.map(Arc::from)
    }

    pub(crate) fn required_text(&self, key: &str) -> Option<Arc<str>> {
        self.missing(key, self.text(key), "a string")
    }

    /// The key is there, whatever its value.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(name, _)| name.get_ref() == key)
    }

    pub(crate) fn flag(&self, key: &str) -> bool {
        self.flag_or(key, false)
    }

    pub(crate) fn flag_or(&self, key: &str, default: bool) -> bool {
        let Some(value) = self.find(key) else { return default };
        value.get_ref().as_bool().unwrap_or_else(|| {
            self.wrong(key, value, "`true` or `false`");
            default
        })
    }

    pub(crate) fn integer(&self, key: &str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let value = self.find(key)?;
        let number =
            value.get_ref().as_integer().and_then(|number| i64::from_str_radix(number.as_str(), number.radix()).ok());
        let fits = number.filter(|number| range.contains(number));
        if fits.is_none() {
            let message = format!("`{}` is not a whole number of {} to {}", self.name(key), range.start(), range.end());
            let help = value.get_ref().as_str().filter(|text| text.parse::<i64>().is_ok());
            let fault =
                Fault::at(self.faults.file, self.faults.content, Some(value.span()), message).coded(Code::WrongType);
            let fault = if help.is_some() { fault.helped("numbers stand without quotes") } else { fault };
            self.faults.found.borrow_mut().push(fault);
        }
        fits
    }

    /// A number from 0 to 1, with or without a fraction.
    pub(crate) fn share(&self, key: &str) -> Option<f64> {
        let value = self.find(key)?;
        let text = match value.get_ref() {
            DeValue::Float(number) => number.as_str(),
            DeValue::Integer(number) => number.as_str(),
            _ => "",
        };
        let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
        if share.is_none() {
            let message = format!("`{}` is not a number of 0 to 1", self.name(key));
            self.faults.add_coded(Code::WrongType, Some(value.span()), message);
        }
        share
    }

    pub(crate) fn texts(&self, key: &str) -> Option<Vec<Arc<str>>> {
        let value = self.find(key)?;
        let texts: Option<Vec<Arc<str>>> = value
            .get_ref()
            .as_array()
            .and_then(|items| items.iter().map(|item| item.get_ref().as_str().map(Arc::from)).collect());
        if texts.is_none() {
            self.wrong(key, value, "a list of strings");
        }
        texts
    }

    pub(crate) fn required_texts(&self, key: &str) -> Option<Vec<Arc<str>>> {
        self.missing(key, self.texts(key), "a list of strings")
    }

    /// A text alone or a list of texts.
    pub(crate) fn one_or_more(&self, key: &str) -> Option<Vec<Arc<str>>> {
        let value = self.find(key)?;
        value.get_ref().as_str().map_or_else(|| self.texts(key), |text| Some(vec![Arc::from(text)]))
    }

    pub(crate) fn required_one_or_more(&self, key: &str) -> Option<Vec<Arc<str>>> {
        self.missing(key, self.one_or_more(key), "a string or a list of strings")
    }

    /// The keys of this table, as they come.
    pub(crate) fn keys(&self) -> Vec<Arc<str>> {
        self.entries.keys().map(|name| Arc::from(&**name.get_ref())).collect()
    }

    fn enter(&self, path: String, value: &'a Spanned<DeValue<'a>>) -> Option<Table<'a>> {
        let entries = value.get_ref().as_table()?;
        Some(Table {
            path,
            span: value.span(),
            entries,
            faults: self.faults.clone(),
            asked: RefCell::default(),
            otherwise: RefCell::default(),
        })
    }

    /// Reads a table within this one; `None` when it is absent or no table.
    pub(crate) fn table<T>(&self, key: &str, read: impl FnOnce(&Table<'_>) -> T) -> Option<T> {
        let value = self.find(key)?;
        let Some(table) = self.enter(self.name(key), value) else {
            self.wrong(key, value, "a table");
            return None;
        };
        let result = read(&table);
        table.finish();
        Some(result)
    }

    pub(crate) fn required_table<T>(&self, key: &str, read: impl FnOnce(&Table<'_>) -> T) -> Option<T> {
        self.missing(key, self.table(key, read), "a table")
    }

    /// Reads each table of a list of tables.
    pub(crate) fn tables<T>(&self, key: &str, mut read: impl FnMut(&Table<'_>) -> Option<T>) -> Vec<T> {
        let Some(value) = self.find(key) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            self.wrong(key, value, "a list of tables");
            return Vec::new();
        };
        let mut results = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let Some(table) = self.enter(format!("{}[{index}]", self.name(key)), item) else {
                self.wrong(key, item, "a table");
                continue;
            };
            results.extend(read(&table));
            table.finish();
        }
        results
    }

    /// Reads a table whose keys are names of the author's choice.
    pub(crate) fn named<T>(
        &self,
        key: &str,
        mut read: impl FnMut(&str, &Table<'_>) -> Option<T>,
    ) -> Vec<(Arc<str>, T)> {
        self.table(key, |outer| {
            let mut results = Vec::new();
            for (name, value) in outer.entries {
                let name = name.get_ref();
                outer.asked.borrow_mut().push(name.to_string());
                match outer.enter(outer.name(name), value) {
                    Some(table) => {
                        results.extend(read(name, &table).map(|result| (Arc::from(&**name), result)));
                        table.finish();
                    }
                    None => outer.wrong(name, value, "a table"),
                }
            }
            results
        })
        .unwrap_or_default()
    }

    /// Reads a table of names of the author's choice, each with a list of texts or one text.
    pub(crate) fn text_lists(&self, key: &str) -> Vec<(Arc<str>, Vec<Arc<str>>)> {
        self.table(key, |outer| {
            let names: Vec<String> = outer.entries.keys().map(|name| name.get_ref().to_string()).collect();
            names
                .iter()
                .filter_map(|name| {
                    let is_text =
                        outer.entries.iter().any(|(key, value)| key.get_ref() == name && value.get_ref().is_str());
                    let texts = if is_text { outer.text(name).map(|text| vec![text]) } else { outer.texts(name) };
                    texts.map(|texts| (Arc::from(name.as_str()), texts))
                })
                .collect()
        })
        .unwrap_or_default()
    }

    /// A boolean, a whole number or a text, or a list of such.
    pub(crate) fn value(&self, key: &str) -> Option<Value> {
        let value = self.find(key)?;
        let read = match value.get_ref() {
            DeValue::Array(items) => {
                items.iter().map(|item| scalar(item.get_ref())).collect::<Option<_>>().map(Value::List)
            }
            single => scalar(single),
        };
        if read.is_none() {
            self.wrong(key, value, "a boolean, a whole number or a string, or a list of such");
        }
        read
    }

    /// Reads a table of names of the author's choice, each with a boolean, a whole number or a text, or a list of such.
    pub(crate) fn scalar_lists(&self, key: &str) -> Vec<(Arc<str>, Vec<Value>)> {
        self.table(key, |outer| {
            let mut found = Vec::new();
            for (name, value) in outer.entries {
                outer.asked.borrow_mut().push(name.get_ref().to_string());
                let values: Option<Vec<Value>> = match value.get_ref() {
                    DeValue::Array(items) => items.iter().map(|item| scalar(item.get_ref())).collect(),
                    single => scalar(single).map(|single| vec![single]),
                };
                match values {
                    Some(values) => found.push((Arc::from(&**name.get_ref()), values)),
                    None => {
                        outer.wrong(name.get_ref(), value, "a boolean, a whole number or a string, or a list of such");
                    }
                }
            }
            found
        })
        .unwrap_or_default()
    }

    /// Reads a table of names of the author's choice, each with a boolean, a whole number or a text.
    pub(crate) fn scalars(&self, key: &str) -> Vec<(Arc<str>, Value)> {
        self.values(key, scalar, "a boolean, a whole number or a string")
    }

    /// Reads a table of names of the author's choice, each with a boolean, a whole number, a text, or a list of these.
    pub(crate) fn constants(&self, key: &str) -> Vec<(Arc<str>, Value)> {
        let list = |value: &DeValue<'_>| {
            let items: Option<_> = value.as_array()?.iter().map(|item| scalar(item.get_ref())).collect();
            items.map(Value::List)
        };
        let expected = "a boolean, a whole number, a string or a list of these";
        self.values(key, |value| scalar(value).or_else(|| list(value)), expected)
    }

    fn values(
        &self,
        key: &str,
        read: impl Fn(&DeValue<'_>) -> Option<Value>,
        expected: &str,
    ) -> Vec<(Arc<str>, Value)> {
        self.table(key, |outer| {
            let mut found = Vec::new();
            for (name, value) in outer.entries {
                outer.asked.borrow_mut().push(name.get_ref().to_string());
                match read(value.get_ref()) {
                    Some(value) => found.push((Arc::from(&**name.get_ref()), value)),
                    None => outer.wrong(name.get_ref(), value, expected),
                }
            }
            found
        })
        .unwrap_or_default()
    }

    /// Reads a table of names of the author's choice, each with a text or a table.
    pub(crate) fn texts_or_tables<T>(
        &self,
        key: &str,
        of_text: impl Fn(Arc<str>) -> T,
        read: impl Fn(&Table<'_>) -> Option<T>,
    ) -> Vec<(Arc<str>, T)> {
        self.table(key, |outer| {
            let mut found = Vec::new();
            for (name, value) in outer.entries {
                let name = &**name.get_ref();
                let read = if value.get_ref().is_table() {
                    outer.table(name, &read).flatten()
                } else {
                    outer.asked.borrow_mut().push(name.to_owned());
                    let text = value.get_ref().as_str();
                    if text.is_none() {
                        outer.wrong(name, value, "a string or a table");
                    }
                    text.map(|text| of_text(text.into()))
                };
                found.extend(read.map(|read| (Arc::from(name), read)));
            }
            found
        })
        .unwrap_or_default()
    }

    /// Names keys that a table of another kind has in this place: an unknown key may be meant for one.
    pub(crate) fn could_have(&self, keys: &[&str]) {
        self.otherwise.borrow_mut().extend(keys.iter().map(ToString::to_string));
    }

    fn finish(&self) {
        let (asked, otherwise) = (self.asked.borrow(), self.otherwise.borrow());
        for (key, _) in self.entries.iter().filter(|(key, _)| !asked.iter().any(|asked| asked == key.get_ref())) {
            let mut known: Vec<&str> = asked.iter().chain(otherwise.iter()).map(String::as_str).collect();
            known.sort_unstable();
            known.dedup();
            let name = self.name(key.get_ref());
            let message = if otherwise.iter().any(|other| other == key.get_ref()) {
                format!("`{name}` does not go with the other keys here")
            } else {
                format!("unknown key `{name}`, expected one of {}", known.join(", "))
            };
            self.faults.add_coded(Code::UnknownKey, Some(key.span()), message);
        }
    }
}

fn scalar(value: &DeValue<'_>) -> Option<Value> {
    match value {
        DeValue::Boolean(flag) => Some(Value::Bool(*flag)),
        DeValue::String(text) => Some(Value::String(text.as_ref().into())),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(Value::Long),
        _ => None,
    }
}
