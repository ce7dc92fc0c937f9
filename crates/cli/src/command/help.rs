//! `cardveil help`: pages of the docs and the help of commands, without the repository.
//!
//! To add a page: its line in [`PAGES`], and `packaging/docker/Dockerfile.dockerignore` lets it in.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Command;
use serde_json::json;

use crate::print::{self, hinted};

/// Its folder in the docs, its name and its text.
type Page = (&'static str, &'static str, &'static str);

macro_rules! page {
    ($folder:literal, $name:literal) => {
        (
            $folder,
            $name,
            include_str!(concat!("../../../../docs/", $folder, "/", $name, ".md")),
        )
    };
}

/// Pages that messages name: what an operator needs where there is no network.
const PAGES: [Page; 20] = [
    page!("operate", "audit"),
    page!("operate", "backup"),
    page!("operate", "clocks"),
    page!("operate", "deploy"),
    page!("operate", "designs"),
    page!("operate", "import"),
    page!("operate", "incidents"),
    page!("operate", "integrity"),
    page!("operate", "keys"),
    page!("operate", "limits"),
    page!("operate", "monitoring"),
    page!("operate", "postgresql"),
    page!("operate", "postgresql-backup"),
    page!("operate", "proxies"),
    page!("operate", "retention"),
    page!("operate", "rows"),
    page!("operate", "sinks"),
    page!("operate", "upgrade"),
    page!("reference", "command-line"),
    page!("reference", "configuration"),
];
/// Where the others are.
const ELSEWHERE: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/");

/// For `--help` and the man page of the whole.
pub(crate) const AFTER_HELP: &str = "Exit codes: 0 done, 1 it failed or found something, 2 wrong usage, 3 done \
    in part (an import that refused lines), 4 the root key's module refuses the PIN.\n\n\
    `cardveil help PAGE` prints a page of the docs: audit, backup, clocks, deploy, designs, \
    import, incidents, integrity, keys, limits, monitoring, postgresql, postgresql-backup, proxies, \
    retention, rows, sinks, upgrade, command-line or configuration; and `cardveil help PAGE TITLE` a \
    part of it.";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A page and perhaps a title on it, or a command; the commands and pages when left out
    #[arg(value_name = "PAGE|COMMAND")]
    words: Vec<String>,
}

/// `cardveil help`.
pub(crate) fn run(command: Command, args: &Args) -> anyhow::Result<ExitCode> {
    let text = match args.words.split_first() {
        None => Some(of_command(command, &[])).transpose(),
        Some((page, title)) => match PAGES.iter().find(|(_, name, _)| name == page) {
            Some(page) => Ok(part(page, &title.join(" "))),
            None => of_command(command, &args.words).map(Some),
        },
    };
    let Ok(Some(text)) = text else {
        let pages = PAGES.map(|(_, name, _)| name).join(", ");
        let what = hinted(
            "there is no such page, title or command",
            format!("`cardveil --help` lists the commands; the pages are {pages}"),
        );
        print::error(&what);
        return Ok(ExitCode::from(2));
    };
    print::object(&json!({ "text": text }), |_| {
        text.lines().try_for_each(print::line)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// A command's own help.
fn of_command(mut command: Command, words: &[String]) -> Result<String, NoCommand> {
    command.build();
    for word in words {
        let verb = command.find_subcommand(word).ok_or(NoCommand)?;
        command = verb.clone();
    }
    Ok(command.render_long_help().to_string())
}

struct NoCommand;

/// A page, or what is under one of its titles.
fn part(page: &Page, title: &str) -> Option<String> {
    let (_, _, text) = page;
    let level = |line: &str| line.bytes().take_while(|byte| *byte == b'#').count();
    let mut within = title.is_empty().then_some(0);
    let mut found = String::new();
    let mut in_code = false;
    for line in text.lines() {
        in_code ^= line.starts_with("```");
        let depth = level(line);
        if depth > 0 && !in_code {
            if within.is_some_and(|above| above > 0 && depth <= above) {
                break;
            }
            let is_it = line
                .trim_start_matches('#')
                .trim()
                .eq_ignore_ascii_case(title);
            if within.is_none() && is_it {
                within = Some(depth);
            }
        }
        if within.is_some() {
            // Writing to a string does not fail.
            let _ = writeln!(found, "{}", with_links(page, line));
        }
    }
    (!found.is_empty()).then_some(found)
}

/// Links as somebody without the repository can follow them.
fn with_links((folder, page, _): &Page, line: &str) -> String {
    let mut parts = line.split("](");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (target, rest) = part.split_once(')').unwrap_or((part, ""));
        let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
        // As seen from the folder of all docs.
        let path = match file.strip_prefix("../") {
            Some(above) => above.to_owned(),
            None => format!("{folder}/{file}"),
        };
        let known = path.strip_suffix(".md").and_then(|path| {
            let mut pages = PAGES.iter();
            pages.find(|(folder, name, _)| path == format!("{folder}/{name}"))
        });
        let words = anchor.replace('-', " ");
        let mark = if anchor.is_empty() { "" } else { "#" };
        let to = match (known, path.strip_prefix("../")) {
            _ if file.contains("://") => target.to_owned(),
            _ if file.is_empty() => format!("cardveil help {page}, {words}"),
            (Some((_, name, _)), _) if anchor.is_empty() => format!("cardveil help {name}"),
            (Some((_, name, _)), _) => format!("cardveil help {name}, {words}"),
            (None, Some(above)) => format!("{ELSEWHERE}{above}{mark}{anchor}"),
            (None, None) => format!("{ELSEWHERE}docs/{path}{mark}{anchor}"),
        };
        let _ = write!(text, "]({to}){rest}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    #[test]
    fn a_page_has_links_that_lead_somewhere_without_the_repository() {
        for page in PAGES {
            let printed = part(&page, "").unwrap();
            let (_, page, _) = page;
            for link in printed.split("](").skip(1) {
                let link = link.split(')').next().unwrap();
                assert!(
                    link.starts_with("cardveil help ") || link.starts_with("https://"),
                    "{page}: {link}"
                );
            }
            assert!(AFTER_HELP.contains(page), "{page}");
        }
    }

    #[test]
    fn all_that_an_operator_needs_is_told_without_a_network() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operate");
        let mut found: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        let ours = PAGES.iter().filter(|(folder, _, _)| *folder == "operate");
        let mut ours: Vec<_> = ours.map(|(_, name, _)| format!("{name}.md")).collect();
        ours.sort();
        assert_eq!(ours, found);
    }

    #[test]
    fn a_title_is_a_part_of_a_page() {
        let text = "# Page\n\na\n\n## One\n\nb\n```sh\n# not a title\n```\n### In it\n\nc\n\n## Two\n\nd\n";
        let page = ("operate", "page", text);
        let of = |title: &str| part(&page, title);
        let one = of("one").unwrap();
        assert!(
            one.starts_with("## One") && one.contains("# not a title") && one.ends_with("c\n\n")
        );
        assert_eq!(of("Two").unwrap(), "## Two\n\nd\n");
        assert_eq!(of("").unwrap(), text);
        assert_eq!(of("Three"), None);
        let line = "[a](keys.md#in-shares), [b](../integrate/mfa.md#x), [c](../../SECURITY.md), [d](#two), \
                    [e](https://a.b), [f](../reference/configuration.md)";
        let base = "https://github.com/cardveil/cardveil/blob/main";
        let expected = format!(
            "[a](cardveil help keys, in shares), [b]({base}/docs/integrate/mfa.md#x), [c]({base}/SECURITY.md), \
             [d](cardveil help page, two), [e](https://a.b), [f](cardveil help configuration)"
        );
        assert_eq!(with_links(&page, line), expected);
    }

    /// In what users see of any crate: a program in /usr/bin has no docs/ beside it.
    #[test]
    fn no_message_points_into_the_repository() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut looked = 0;
        for name in ["cli", "core", "seal", "server", "store"] {
            for file in sources(&crates.join(name).join("src")) {
                let text = std::fs::read_to_string(&file).unwrap();
                looked += 1;
                let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
                for (n, line) in (1..).zip(code.lines()) {
                    let line = line.trim_start();
                    let is_ours = line.starts_with("//") && !line.starts_with("///");
                    // clap shows the comments of arguments; those of other items are not asked
                    // about.
                    let is_shown = !line.starts_with("///") || is_help(&text, n);
                    let points = line.contains("docs/") || line.contains(".md");
                    let embeds = line.contains("include_str!") || line.contains("ELSEWHERE");
                    let links = line.contains("strip_suffix");
                    assert!(
                        is_ours || !is_shown || !points || embeds || links,
                        "{}:{n}: {line}",
                        file.display()
                    );
                }
            }
        }
        assert!(looked > 150, "{looked}");
    }

    #[test]
    fn every_page_that_a_message_names_is_there() {
        let mut named = 0;
        let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for file in sources(&home) {
            let text = std::fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
            // Texts of several lines have a backslash at each line's end.
            let lines = code.lines().map(|line| line.trim().trim_end_matches('\\'));
            let code = lines
                .map(|line| line.trim_start_matches("/// "))
                .collect::<Vec<_>>();
            let joined = code
                .join(" ")
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ");
            for words in joined.split("`cardveil help ").skip(1) {
                let words = words.split('`').next().unwrap();
                let (page, title) = words.split_once(' ').unwrap_or((words, ""));
                if page == "PAGE" {
                    continue;
                }
                let page = PAGES.iter().find(|(_, name, _)| *name == page);
                let page = page.unwrap_or_else(|| panic!("{}: {words}", file.display()));
                assert!(part(page, title).is_some(), "{}: {words}", file.display());
                named += 1;
            }
        }
        assert!(named > 8, "{named}");
    }

    /// Whether the comment in this line is of something that clap shows.
    fn is_help(text: &str, line: usize) -> bool {
        let mut below = text.lines().skip(line).map(str::trim_start);
        let item = below
            .find(|line| !line.starts_with("///"))
            .unwrap_or_default();
        item.starts_with("#[arg") || item.starts_with("#[command")
    }

    fn sources(folder: &Path) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files.extend(sources(&path));
            } else if path.extension().is_some_and(|end| end == "rs") {
                files.push(path);
            }
        }
        files
    }
}
