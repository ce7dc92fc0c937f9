//! Files as programs and spreadsheets write them, in `import/`: each is taken, or refused with its
//! cause.

use std::path::Path;

use crate::world::{World, said, string, text};

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/deployment/import")
}

/// Imports a file. `tally` is what it adds, refuses, and warns of: cards that have expired, numbers
/// that stood before. `told` is stderr, but for the order of its lines.
fn import(world: &World, file: &str, code: i32, tally: [u64; 4], told: &[&str]) {
    let path = folder().join(file);
    let run = world.run(&[
        "card",
        "import",
        path.to_str().unwrap(),
        "--merchant",
        &world.merchant,
        "--json",
    ]);
    let stderr = said(&run);
    assert_eq!(run.status.code(), Some(code), "{file}: {stderr}");
    let [added, refused, expired, repeated] = tally;
    let stdout = format!(
        r#"{{"added":{added},"refused":{refused},"expired":{expired},"repeated":{repeated}}}"#
    );
    assert_eq!(text(&run.stdout).trim(), stdout, "{file}: {stderr}");
    let mut lines: Vec<_> = stderr
        .lines()
        .filter(|line| !line.starts_with("hint: "))
        .collect();
    lines.sort_unstable();
    let mut expected = told.to_vec();
    expected.sort_unstable();
    assert_eq!(lines, expected, "{file}");
}

/// Which file is not read at all, what is told of it and what to do.
fn refuse(world: &World, file: &str, bytes: Option<&[u8]>, error: &str, hint: &str) {
    let path = if let Some(bytes) = bytes {
        let path = world.dir.path().join(file);
        std::fs::write(&path, bytes).unwrap();
        path
    } else {
        folder().join(file)
    };
    let run = world.run(&[
        "card",
        "import",
        path.to_str().unwrap(),
        "--merchant",
        &world.merchant,
    ]);
    let stderr = text(&run.stderr);
    assert_eq!(run.status.code(), Some(1), "{file}: {stderr}");
    assert_eq!(text(&run.stdout), "", "{file}");
    assert!(
        stderr.contains(&format!("error: {error}\n")),
        "{file}: {stderr}"
    );
    assert!(stderr.contains(hint), "{file}: {stderr}");
}

const BEFORE: &str = "warning: the card's number stands in the file before";

#[test]
fn every_file_is_in_a_test() {
    let tests = include_str!("import.rs");
    let mut count = 0;
    for file in std::fs::read_dir(folder()).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(tests.contains(&format!("\"{name}\"")), "{name}");
        count += 1;
    }
    assert_eq!(count, 45);
}

#[test]
fn a_stray_quote_takes_no_lines_with_it_rust_csv_289_fastcsv_173_csvw_52() {
    let world = World::new(0);
    let error = "error: line 2: the quote that opens here is not closed";
    import(
        &world,
        "36-unterminated-quote.csv",
        1,
        [0, 0, 0, 0],
        &[error],
    );
    let header = "card_no,account_id,person_id,pan,expiry,name\n";
    let row = |n: usize, name: &str| {
        format!(
            "Q{n},F50091,775596ae-2624-40af-a9dc-9756110a4a04,4111111111111111,12/2030,{name}\n"
        )
    };
    let good: String = (0..600).map(|n| row(n, "A C")).collect();
    let after: String = (700..900).map(|n| row(n, "A C")).collect();
    let run = world.import(
        "csv",
        &format!("{header}{good}{}{after}", row(650, "\"A C")),
    );
    assert_eq!(run.status.code(), Some(1));
    let stdout = text(&run.stdout);
    assert_eq!(
        stdout.trim(),
        r#"{"added":600,"refused":0,"expired":0,"repeated":599}"#,
        "what came before is in, and is counted"
    );
    let stderr = text(&run.stderr);
    assert!(stderr.contains("error: line 602: the quote"), "{stderr}");
    assert!(
        stderr.contains("hint: the lines after this one were not read"),
        "{stderr}"
    );
}

#[test]
fn line_numbers_are_those_of_an_editor_rust_csv_395() {
    let world = World::new(0);
    let wrong = "pan: the check digit is wrong";
    let line_3 = format!("line 3: {wrong}");
    import(&world, "60-lineno-lf.csv", 3, [1, 1, 0, 0], &[&line_3]);
    import(&world, "61-lineno-crlf.csv", 3, [1, 1, 0, 0], &[&line_3]);
    let name = "name: must be at most 64 printable characters";
    let quoted = [format!("lines 3 to 4: {name}"), format!("line 5: {wrong}")];
    let quoted = [quoted[0].as_str(), quoted[1].as_str()];
    import(
        &world,
        "64-lineno-lf-quoted-newline.csv",
        3,
        [1, 2, 0, 0],
        &quoted,
    );
    let name = format!("lines 2 to 3: {name}");
    import(
        &world,
        "13-quoted-newline-name.csv",
        3,
        [1, 1, 0, 0],
        &[&name],
    );
    import(
        &world,
        "27-duplicates.csv",
        3,
        [1, 1, 0, 0],
        &["line 3: it exists already"],
    );

    let header = "card_no,account_id,person_id,pan,expiry,name";
    let row = "L1,F50091,775596ae-2624-40af-a9dc-9756110a4a04,4111111111111112,12/2030,A C";
    for end in ["\n", "\r\n", "\r"] {
        let text = ["", header, "", "", row, "", row].join(end);
        let run = world.import("csv", &text);
        let told = crate::world::text(&run.stderr);
        let told: Vec<_> = told.lines().collect();
        let expected = [format!("line 5: {wrong}"), format!("line 7: {wrong}")];
        assert_eq!(told, expected, "{end:?}");
    }
}

#[test]
fn a_byte_order_mark_costs_no_card_dotcms_36508_mainflux_1268() {
    let world = World::new(0);
    import(&world, "01-bom-crlf.csv", 0, [1, 0, 0, 0], &[]);
    import(&world, "50-bom.jsonl", 0, [1, 0, 0, 0], &[]);
}

#[test]
fn an_encoding_is_named_io_app_2833_adyen_web_1322() {
    let world = World::new(0);
    let told = "line 2: it is not UTF-8; perhaps Latin-1 or Windows-1252";
    import(&world, "26-latin1-name.csv", 3, [0, 1, 0, 0], &[told]);
    let nul = "line 3: it holds NUL bytes";
    import(&world, "30-nul-bytes.csv", 3, [1, 1, 0, 0], &[nul]);
    let latin_1 = b"{\"card_no\":\"X\",\"name\":\"JOS\xc9\"}\n";
    let path = world.dir.path().join("latin1.jsonl");
    std::fs::write(&path, latin_1).unwrap();
    let run = world.run(&[
        "card",
        "import",
        path.to_str().unwrap(),
        "--merchant",
        &world.merchant,
    ]);
    let stderr = text(&run.stderr);
    assert!(stderr.contains("line 1: it is not UTF-8"), "{stderr}");
    assert!(
        stderr.contains("hint: ") && stderr.contains("iconv"),
        "{stderr}"
    );

    let utf_16 =
        |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let header = "card_no;account_id\r\n";
    let marked = utf_16(&format!("\u{feff}{header}"));
    let error = "the file is UTF-16, not UTF-8";
    refuse(
        &world,
        "utf16.csv",
        Some(&marked),
        error,
        "iconv -f UTF-16 -t UTF-8",
    );
    refuse(
        &world,
        "utf16le.csv",
        Some(&utf_16(header)),
        error,
        "iconv -f UTF-16LE",
    );
    let marked = utf_16("\u{feff}{\"card_no\":\"X\"}\n");
    refuse(&world, "utf16.jsonl", Some(&marked), error, "iconv");
    let error = "the file is a ZIP archive, as spreadsheets (.xlsx, .ods) are";
    refuse(
        &world,
        "sheet.csv",
        Some(b"PK\x03\x04rest"),
        error,
        "save the sheet as CSV",
    );
}

#[test]
fn tables_are_taken_as_spreadsheets_of_most_of_europe_write_them() {
    let world = World::new(0);
    for file in [
        "02-semicolon.csv",
        "03-tab.csv",
        "04-sep-line.csv",
        "07-trailing-empty-column.csv",
        "08-trailing-empty-field-rows-only.csv",
        "09-blank-rows-of-commas.csv",
        "10-title-case-header.csv",
        "11-header-spaces.csv",
        "12-quoted-all.csv",
        "21-pan-trailing-space.csv",
        "31-no-final-newline.csv",
        "34-comment-line.csv",
    ] {
        import(&world, file, 0, [1, 0, 0, 0], &[]);
    }
    import(&world, "33-header-only.csv", 0, [0, 0, 0, 0], &[]);
    let columns = "hint: the first line names the columns";
    refuse(
        &world,
        "32-empty.csv",
        None,
        "the file has no header line",
        columns,
    );
    let trailer = "line 3: it has 2 fields, and the header line has 6";
    import(&world, "38-trailer-line.csv", 3, [1, 1, 0, 0], &[trailer]);
    let before = [3, 4].map(|line| format!("line {line}: {BEFORE}"));
    let before = [before[0].as_str(), before[1].as_str()];
    import(&world, "40-state-type-case.csv", 0, [3, 0, 0, 2], &before);
    let card = world.json(&[
        "card",
        "show",
        "K107",
        "--merchant",
        &world.merchant,
        "--json",
    ]);
    assert_eq!(
        [string(&card, "/type"), string(&card, "/state")],
        ["physical", "active"]
    );

    for (header, error) in [
        (
            "card_no,surprise",
            "line 1: column 2 of the header line is not known",
        ),
        (
            "# a\ncard_no,Card_No",
            "line 2: it has the column card_no twice",
        ),
        (
            "card_no,pan",
            "line 1: the header line has no column account_id",
        ),
        (
            "K1,F50091,\"x",
            "line 1: the quote that opens here is not closed",
        ),
    ] {
        refuse(
            &world,
            "header.csv",
            Some(header.as_bytes()),
            error,
            "hint: ",
        );
    }
    let rows = "card_no;account_id;person_id;pan;expiry;name;;\n\
                K200;F50091;775596ae-2624-40af-a9dc-9756110a4a04;4111111111111111;12/2030;A, C;;\n\
                K201;F50091;775596ae-2624-40af-a9dc-9756110a4a04;4111111111111111;12/2030;A C;;x\n\
                K202;F50091;775596ae-2624-40af-a9dc-9756110a4a04;4111111111111111;12/2030;\"A\" C;;\n";
    let run = world.import("csv", rows);
    let told = text(&run.stderr);
    let expected = [
        "line 3: it has a value in a column that has no name",
        "line 4: text follows a closing quote; a quote inside a quoted field is doubled",
    ];
    assert_eq!(told.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn numbers_that_a_spreadsheet_spoilt_are_never_taken_officedocs_support_745() {
    let world = World::new(0);
    for grouped in [
        "14-pan-spaces.csv",
        "15-pan-dashes.csv",
        "23-pan-19-test.csv",
    ] {
        import(&world, grouped, 0, [1, 0, 0, 0], &[]);
    }
    for (file, told) in [
        ("16-pan-leading-apostrophe.csv", "must be 12 to 19 digits"),
        ("17-pan-formula-text.csv", "must be 12 to 19 digits"),
        (
            "18-pan-scientific.csv",
            "a spreadsheet has rounded it; export the column as text",
        ),
        ("19-pan-excel-zeroed.csv", "the check digit is wrong"),
        ("22-pan-19.csv", "the check digit is wrong"),
    ] {
        import(
            &world,
            file,
            3,
            [0, 1, 0, 0],
            &[&format!("line 2: pan: {told}")],
        );
    }
    let uuid = "person_id: must be a UUID of 36 characters";
    let told = [3, 4].map(|line| format!("line {line}: {uuid}"));
    let before = format!("line 5: {BEFORE}");
    let told = [told[0].as_str(), told[1].as_str(), &before];
    import(&world, "35-uuid-upper-braced.csv", 3, [2, 2, 0, 1], &told);
}

#[test]
fn an_expiry_in_another_form_is_told_the_forms_react_csv_136() {
    let world = World::new(0);
    let expiry = "expiry: must be MM/YYYY, MM/YY, MMYY or YYYY-MM, with a month from 01 to 12 and a year \
                  from 2000 to 2099";
    let refused = (6..=24).map(|line| format!("line {line}: {expiry}"));
    let warned = [3, 4, 5, 25].map(|line| format!("line {line}: {BEFORE}"));
    let told: Vec<_> = refused.chain(warned).collect();
    let told: Vec<_> = told.iter().map(String::as_str).collect();
    import(&world, "24-expiry-forms.csv", 3, [5, 19, 0, 4], &told);
}

#[test]
fn files_of_carriage_returns_are_taken_mautic_5408_papaparse_43() {
    let world = World::new(0);
    let csv = format!("line 3: {BEFORE}");
    import(&world, "06-cr-only.csv", 0, [2, 0, 0, 1], &[&csv]);
    let jsonl = format!("line 2: {BEFORE}");
    import(&world, "59-cr-only.jsonl", 0, [2, 0, 0, 1], &[&jsonl]);
}

#[test]
fn names_are_refused_that_are_blank_turn_writing_or_hold_a_number_card_validator_33_86() {
    let world = World::new(0);
    let mut told = vec![
        "line 21: name: must be at most 64 printable characters".to_owned(),
        "line 27: name: must not hold what could be a card number".to_owned(),
        "line 30: name: must not be blank".to_owned(),
        "line 31: name: must not be blank".to_owned(),
        "... and 5 more; --report FILE lists all".to_owned(),
    ];
    let told_in_full = (3..=20).chain(22..=23);
    told.extend(told_in_full.map(|line| format!("line {line}: {BEFORE}")));
    let told: Vec<_> = told.iter().map(String::as_str).collect();
    import(&world, "25-names.csv", 3, [26, 4, 0, 25], &told);
}

#[test]
fn cards_that_have_expired_and_numbers_that_stand_twice_are_counted_hyperswitch_7693() {
    let world = World::new(0);
    let before = format!("line 3: {BEFORE}");
    import(
        &world,
        "28-same-pan-two-cards.csv",
        0,
        [2, 0, 0, 1],
        &[&before],
    );
    let rows = "card_no,account_id,person_id,pan,expiry,name,state\n\
                E1,F50091,775596ae-2624-40af-a9dc-9756110a4a04,4111111111111111,12/2020,A C,active\n\
                E2,F50091,775596ae-2624-40af-a9dc-9756110a4a04,5555555555554444,12/2020,A C,terminated\n\
                E1,F50091,775596ae-2624-40af-a9dc-9756110a4a04,5555555555554444,12/2020,A C,active\n";
    let file = an_issuers(rows);
    let report = world.dir.path().join("report");
    let run = world.run(&[
        "card",
        "import",
        file.path().to_str().unwrap(),
        "--merchant",
        &world.merchant,
        "--report",
        report.to_str().unwrap(),
    ]);
    assert_eq!(run.status.code(), Some(3));
    assert_eq!(
        text(&run.stdout).trim(),
        "added 2, refused 1, 1 active but expired",
        "what was refused is not warned of"
    );
    assert_eq!(
        std::fs::read_to_string(report).unwrap(),
        "line 2: warning: the card is active and has expired\nline 4: it exists already\n"
    );
}

/// A file with clear numbers, which goes with its value: nothing of a test may be left that holds
/// one.
fn an_issuers(rows: &str) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
    std::fs::write(file.path(), rows).unwrap();
    file
}

#[test]
fn a_line_of_json_says_which_member_is_wrong() {
    let world = World::new(0);
    import(&world, "51-null-members.jsonl", 0, [1, 0, 0, 0], &[]);
    let told = "line 1: pan: must be a text, in quotes";
    import(&world, "52-numbers.jsonl", 3, [0, 1, 0, 0], &[told]);
    let told = "line 1: card_no: is there twice";
    import(&world, "56-dup-key.jsonl", 3, [0, 1, 0, 0], &[told]);
    let error = "line 1: the file is JSON, and not one JSON object a line";
    refuse(
        &world,
        "53-array.jsonl",
        None,
        error,
        "hint: make it so: jq",
    );
    import(
        &world,
        "54-pretty.jsonl",
        1,
        [0, 0, 0, 0],
        &[&format!("error: {error}")],
    );
}

#[test]
fn a_check_says_what_an_import_would_and_writes_nothing() {
    let world = World::new(1);
    let rows = "card_no,account_id,person_id,pan,expiry,name\n\
                C0,F50091,775596ae-2624-40af-a9dc-9756110a4a04,4111111111111111,12/2030,A C\n\
                C1,F50091,775596ae-2624-40af-a9dc-9756110a4a04,4111111111111111,12/2020,A C\n\
                C1,F50091,775596ae-2624-40af-a9dc-9756110a4a04,4111111111111111,12/2030,A C\n\
                C2,F50091,775596ae-2624-40af-a9dc-9756110a4a04,4111111111111112,12/2030,A C\n";
    let file = an_issuers(rows);
    let run = |with: &[&str]| {
        let args = [
            "card",
            "import",
            file.path().to_str().unwrap(),
            "--merchant",
            &world.merchant,
        ];
        world.run(&[&args[..], with].concat())
    };
    let added = || {
        let entries = world.audit();
        let kinds = entries.iter().map(|entry| string(entry, "/kind"));
        kinds.filter(|kind| kind == "card.added").count()
    };
    let check = run(&["--check", "--json"]);
    assert_eq!(check.status.code(), Some(3));
    assert_eq!(
        text(&check.stdout).trim(),
        r#"{"would_add":1,"would_refuse":3,"expired":1,"repeated":1}"#
    );
    assert_eq!(added(), 1);
    let show = ["card", "show", "C1", "--merchant", &world.merchant];
    assert_eq!(world.run(&show).status.code(), Some(1));
    let check = run(&["--check"]);
    let summary =
        "would add 1, refuse 3, 1 active but expired, 1 of a number that stands in the file before";
    assert_eq!(text(&check.stdout).trim(), summary);

    let imported = run(&[]);
    let lines = |told: &[u8]| {
        let mut lines: Vec<_> = text(told).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(lines(&imported.stderr), lines(&check.stderr));
    assert_eq!(
        text(&imported.stdout).trim(),
        summary
            .replace("would add", "added")
            .replace("refuse", "refused")
    );
}
