//! What `cardveil doctor` says of PostgreSQL: a line for each thing that the promises lean on.
//!
//! To add one: what is looked at goes into [`Survey`], a line into [`judge`] with what to mend.

use std::path::Path;

use cardveil_store::postgres::fit::Unfit;
use cardveil_store::postgres::survey::{Survey, Way, survey};

use super::{Check, check, words};
use crate::deployment::backend;
use crate::deployment::config;

/// "PostgreSQL 15 or later", as the server numbers it.
const VERSION_LEAST: i32 = 150_000;

/// Looks at the server, if there is one.
pub(super) async fn look(file: &Path, config: &config::Store, checks: &mut Vec<Check>) {
    let Some(connection) = &config.postgres else {
        return;
    };
    let found = async {
        let options = backend::options(config, connection)?;
        let found = survey(&options)
            .await
            .map_err(|error| backend::unusable(&error, &options.place()))?;
        anyhow::Ok((found, options))
    };
    match found.await {
        Ok((found, options)) => {
            checks.extend(judge(&found, options.user(), config.postgres_plain));
        }
        Err(error) => checks.push(check("PostgreSQL", false, words(error, file))),
    }
}

fn judge(found: &Survey, user: &str, plain: bool) -> [Check; 7] {
    [
        server(found),
        encoding(found),
        way(&found.way, plain),
        commits(found),
        pages(found),
        schema(found),
        role(found, user),
    ]
}

fn server(found: &Survey) -> Check {
    // "server_version_num": two parts since version 10.
    let (major, minor) = (found.version / 10_000, found.version % 10_000);
    let part = if found.is_primary {
        "the primary"
    } else {
        "a standby, which takes no writes"
    };
    let advice = match (found.version >= VERSION_LEAST, found.is_primary) {
        (true, true) => "",
        (false, _) => ": PostgreSQL 15 or later is needed",
        (true, false) => ": name the primary's host too, or promote it",
    };
    let words = format!("{major}.{minor}, {part}{advice}");
    check("PostgreSQL", advice.is_empty(), words)
}

fn encoding(found: &Survey) -> Check {
    let unfit = Unfit::Encoding(found.encoding.clone());
    if found.encoding == "UTF8" {
        check("encoding", true, "UTF8")
    } else {
        check(
            "encoding",
            false,
            format!("{unfit}: {}", backend::mend(&unfit)),
        )
    }
}

fn way(way: &Way, plain: bool) -> Check {
    let words = match way {
        Way::Socket => "none needed: a unix socket",
        Way::Tls(version) => &format!("{version}, to a verified server"),
        Way::Clear if plain => "none: store.postgres_plain says that the network encrypts",
        Way::Clear => "none needed: a loopback address",
    };
    check("PostgreSQL, TLS", true, words)
}

fn commits(found: &Survey) -> Check {
    let setting = found.synchronous_commit.as_str();
    let words = match (found.fsync, setting, found.standbys.as_str()) {
        (false, ..) => "fsync is off, so a crash loses what was answered: switch it on",
        (true, "on" | "remote_apply", "") => {
            "wait for the disk, and for no standby: with the primary, what was answered last would be lost"
        }
        (true, "on", standbys) => &format!("wait for the disk, and for {standbys}"),
        (true, "remote_apply", standbys) => {
            &format!("wait for the disk, and until they are seen on {standbys}")
        }
        (true, other, _) => &format!("do not wait: synchronous_commit is {other} in our sessions"),
    };
    let well = found.fsync && ["on", "remote_apply"].contains(&setting);
    check("commits", well, words)
}

fn pages(found: &Survey) -> Check {
    let torn = if found.full_page_writes {
        "whole after a crash"
    } else {
        "full_page_writes is off, so a crash can tear them: switch it on"
    };
    let damage = if found.checksums {
        "with checksums"
    } else {
        "without checksums, so damage is not noticed: pg_checksums --enable while it is stopped"
    };
    let well = found.full_page_writes && found.checksums;
    check("pages", well, format!("{torn}; {damage}"))
}

fn schema(found: &Survey) -> Check {
    let (well, words) = match &found.schema {
        Ok(schema) if schema.is_append_only && schema.is_finished => {
            (true, format!("version {}", schema.version))
        }
        Ok(schema) if schema.is_append_only => {
            let version = schema.version;
            let advice = "once no node of it runs any more: `cardveil migrate --finish`";
            let words = format!("version {version}, also for the version before; {advice}");
            (true, words)
        }
        Ok(schema) => {
            let version = schema.version;
            let advice = "the audit log's triggers are off or gone: find out who did it";
            (false, format!("version {version}, but {advice}"))
        }
        Err(unfit) => (false, format!("{unfit}: {}", backend::mend(unfit))),
    };
    check("schema", well, words)
}

fn role(found: &Survey, user: &str) -> Check {
    if found.excess.is_empty() {
        let mut words = format!("{user} has no more rights than it needs");
        if found.may_make_large_objects {
            words.push_str(
                ", but for large objects: a superuser takes them away (`cardveil help postgresql large objects`)",
            );
        }
        return check("server's role", true, words);
    }
    let all = found.excess.join("; ");
    let advice = "serve as a role that owns nothing, and take away what was granted besides";
    check("server's role", false, format!("{user}: {all}: {advice}"))
}

#[cfg(test)]
mod tests {
    use cardveil_store::postgres::survey::Schema;

    use super::*;

    fn good() -> Survey {
        Survey {
            version: 150_000,
            is_primary: true,
            encoding: "UTF8".into(),
            fsync: true,
            full_page_writes: true,
            checksums: true,
            synchronous_commit: "on".into(),
            standbys: "ANY 1 (a, b)".into(),
            way: Way::Tls("TLSv1.3".into()),
            excess: vec![],
            may_make_large_objects: false,
            schema: Ok(Schema {
                version: 3,
                is_append_only: true,
                is_finished: true,
            }),
        }
    }

    fn lines(found: &Survey, plain: bool) -> [Check; 7] {
        judge(found, "cardveil", plain)
    }

    #[test]
    fn a_server_as_it_should_be_has_nothing_to_mend() {
        let found: Vec<_> = lines(&good(), false)
            .into_iter()
            .inspect(|line| assert!(line.ok, "{}", line.found))
            .map(|line| format!("{}: {}", line.what, line.found))
            .collect();
        let expected = [
            "PostgreSQL: 15.0, the primary",
            "encoding: UTF8",
            "PostgreSQL, TLS: TLSv1.3, to a verified server",
            "commits: wait for the disk, and for ANY 1 (a, b)",
            "pages: whole after a crash; with checksums",
            "schema: version 3",
            "server's role: cardveil has no more rights than it needs",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn each_thing_that_is_wrong_is_one_line_to_mend() {
        let with = |change: fn(&mut Survey)| {
            let mut found = good();
            change(&mut found);
            let lines = lines(&found, false);
            let mend: Vec<_> = lines.iter().filter(|line| !line.ok).collect();
            match mend.as_slice() {
                [line] => format!("{}: {}", line.what, line.found),
                other => panic!("{} lines", other.len()),
            }
        };
        for (change, wanted) in [
            (
                (|found| found.version = 149_999) as fn(&mut Survey),
                "PostgreSQL: 14.9999, the primary: PostgreSQL 15 or later",
            ),
            (
                |found| found.is_primary = false,
                "PostgreSQL: 15.0, a standby, which takes no writes: ",
            ),
            (
                |found| found.encoding = "LATIN1".into(),
                "encoding: the database's encoding is LATIN1",
            ),
            (|found| found.fsync = false, "commits: fsync is off"),
            (
                |found| found.synchronous_commit = "local".into(),
                "commits: do not wait: synchronous_commit is local",
            ),
            (
                |found| found.full_page_writes = false,
                "pages: full_page_writes is off",
            ),
            (
                |found| found.checksums = false,
                "pages: whole after a crash; without checksums",
            ),
            (
                |found| found.schema = Err(Unfit::Missing),
                "schema: the database has no Cardveil schema: run `cardveil migrate`",
            ),
            (
                |found| {
                    found.schema = Ok(Schema {
                        version: 3,
                        is_append_only: false,
                        is_finished: true,
                    });
                },
                "schema: version 3, but the audit log's triggers",
            ),
            (
                |found| found.excess = vec!["it is a superuser"],
                "server's role: cardveil: it is a superuser: ",
            ),
        ] {
            let line = with(change);
            assert!(line.starts_with(wanted), "{line}");
        }
    }

    #[test]
    fn what_may_be_so_or_otherwise_is_told() {
        let told = |change: fn(&mut Survey), plain: bool, what: &str| {
            let mut found = good();
            change(&mut found);
            let line = lines(&found, plain)
                .into_iter()
                .find(|line| line.what == what);
            let line = line.unwrap();
            assert!(line.ok, "{}", line.found);
            line.found
        };
        let way = "PostgreSQL, TLS";
        let socket = told(|found| found.way = Way::Socket, false, way);
        assert!(socket.contains("unix socket"), "{socket}");
        let loopback = told(|found| found.way = Way::Clear, false, way);
        assert!(loopback.contains("loopback"), "{loopback}");
        let plain = told(|found| found.way = Way::Clear, true, way);
        assert!(plain.contains("store.postgres_plain"), "{plain}");
        let alone = told(|found| found.standbys.clear(), false, "commits");
        assert!(alone.contains("for no standby"), "{alone}");
        let seen = |found: &mut Survey| found.synchronous_commit = "remote_apply".into();
        let seen = told(seen, false, "commits");
        assert!(seen.contains("seen on ANY 1 (a, b)"), "{seen}");
    }
}
