//! The elements of a frame's document: enough of HTML to see what a browser would run, and strict
//! where it does not understand, because the document is ours.

/// An element's start tag, and its text where the text is not markup.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Element<'a> {
    /// In lower case.
    pub(super) name: String,
    /// Names in lower case, with their values.
    pub(super) attributes: Vec<(String, &'a str)>,
    /// Of a script, style or title.
    pub(super) text: &'a str,
}

impl Element<'_> {
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        let mut all = self.attributes.iter();
        all.find(|(known, _)| known == name)
            .map(|(_, value)| *value)
    }
}

/// Elements whose content is text up to their end tag (HTML 13.1.2.1).
const RAW: [&str; 3] = ["script", "style", "title"];

/// All elements, or `None` if a browser might see others than this sees.
pub(super) fn elements(document: &str) -> Option<Vec<Element<'_>>> {
    let mut found = Vec::new();
    let mut rest = document;
    while let Some((_, tag)) = rest.split_once('<') {
        if let Some(end) = tag.strip_prefix('/') {
            (_, rest) = end.split_once('>')?;
        } else if let Some(doctype) = tag.strip_prefix('!') {
            // A comment is what parsers disagree on most, and a frame has none.
            let (doctype, after) = doctype.split_once('>')?;
            if !doctype.eq_ignore_ascii_case("doctype html") {
                return None;
            }
            rest = after;
        } else {
            let (element, after) = element(tag)?;
            found.push(element);
            rest = after;
        }
    }
    Some(found)
}

/// What begins after `<`, and what is left after it.
fn element(tag: &str) -> Option<(Element<'_>, &str)> {
    let end = tag.find(|c: char| !c.is_ascii_alphanumeric())?;
    let (name, mut rest) = tag.split_at(end);
    if name.is_empty() {
        return None;
    }
    let name = name.to_ascii_lowercase();
    let mut attributes = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\n', '\t', '\r']);
        if let Some(after) = rest.strip_prefix('>') {
            rest = after;
            break;
        }
        let (attribute, after) = attribute(rest)?;
        attributes.push(attribute);
        rest = after;
    }
    let mut text = "";
    if RAW.contains(&name.as_str()) {
        let end = rest.to_ascii_lowercase().find(&format!("</{name}"))?;
        (text, rest) = rest.split_at(end);
    }
    let element = Element {
        name,
        attributes,
        text,
    };
    Some((element, rest))
}

/// `name`, or `name="value"`: no other form is in a frame.
fn attribute(rest: &str) -> Option<((String, &str), &str)> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == ':' || c == '_';
    let end = rest.find(|c| !plain(c))?;
    let (name, rest) = rest.split_at(end);
    if name.is_empty() {
        return None;
    }
    let name = name.to_ascii_lowercase();
    match rest.strip_prefix("=\"") {
        Some(value) => {
            let (value, rest) = value.split_once('"')?;
            Some(((name, value), rest))
        }
        None if rest.starts_with([' ', '>']) => Some(((name, ""), rest)),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_taken_apart() {
        let document = "<!doctype html>\n<HTML lang=\"en\"><style>a > b {}</style>\n<main id=\"x\" hidden></main>\
                        <script type=\"application/json\">{\"<\":1}</script><script>1</SCRIPT>";
        let all = elements(document).unwrap();
        let names: Vec<_> = all
            .iter()
            .map(|element| (element.name.as_str(), element.text))
            .collect();
        assert_eq!(
            names,
            [
                ("html", ""),
                ("style", "a > b {}"),
                ("main", ""),
                ("script", "{\"<\":1}"),
                ("script", "1"),
            ]
        );
        assert_eq!(all[2].attribute("id"), Some("x"));
        assert_eq!(all[2].attribute("hidden"), Some(""));
        assert_eq!(all[3].attribute("type"), Some("application/json"));
    }

    #[test]
    fn what_browsers_might_read_otherwise_is_not_read_at_all() {
        for document in [
            "<!-- x --><script>1</script>",
            "<!DOCTYPE html PUBLIC \"x\">",
            "<p a='x'>",
            "<p a=x>",
            "<p a=\"x\"b=\"y>",
            "<script>1",
            "<p",
            "< p>",
            "<?xml?>",
            "<p / onload=\"x\">",
            "</p",
        ] {
            assert_eq!(elements(document), None, "{document}");
        }
    }

    #[test]
    fn no_script_can_hide() {
        for document in [
            "<SCRIPT>1</script>",
            "<script\n>1</script >",
            "<main></main><script a>1</script>",
            "<style></style><script src=\"x\"></script>",
            "</p ><script>1</script>",
        ] {
            let all = elements(document).unwrap();
            assert!(
                all.iter().any(|element| element.name == "script"),
                "{document}"
            );
        }
    }
}
