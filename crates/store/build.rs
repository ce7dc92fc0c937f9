//! Lists the migrations of each database, so that whoever adds one adds a file and no more.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    for database in ["sqlite", "postgres"] {
        let migrations = format!("src/{database}/migrations");
        println!("cargo::rerun-if-changed={migrations}");
        fs::write(
            out.join(format!("{database}.rs")),
            list(Path::new(&migrations))?,
        )?;
    }
    Ok(())
}

/// The texts of a folder's files, which are `NNNN_what.sql` and numbered from 1 without a gap.
fn list(folder: &Path) -> io::Result<String> {
    let files: io::Result<Vec<_>> = fs::read_dir(folder)?.map(|file| Ok(file?.path())).collect();
    let mut files = files?;
    files.sort();
    let mut listed = String::new();
    for (number, file) in (1..).zip(files) {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let is_next = name.starts_with(&format!("{number:04}_")) && name.ends_with(".sql");
        assert!(is_next, "{name} stands where migration {number} should");
        let path = file.canonicalize()?;
        listed.extend(["include_str!(r#\"", &path.to_string_lossy(), "\"#),\n"]);
    }
    Ok(format!("&[\n{listed}]\n"))
}
