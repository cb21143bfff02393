//! Refusal codes, their sections of the runbook and their tests are kept in step.

use std::fs;
use std::path::Path;

use devvault::refusal::Code;

#[test]
fn every_code_is_asserted_by_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut tests = String::new();
    for entry in walkdir::WalkDir::new(root) {
        let entry = entry.unwrap();
        if entry.path().extension().is_some_and(|extension| extension == "rs") && entry.file_name() != "refusals.rs" {
            tests.push_str(&fs::read_to_string(entry.path()).unwrap());
        }
    }
    // By its name in code or by its number in output.
    let untested: Vec<String> = Code::ALL
        .iter()
        .filter(|code| !tests.contains(&format!("Code::{code:?}")) && !tests.contains(&format!("\"{code}\"")))
        .map(|code| format!("{code} {code:?}"))
        .collect();
    assert!(untested.is_empty(), "no test asserts {}", untested.join(", "));
}

#[test]
fn every_code_is_refused_somewhere_in_the_program() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = String::new();
    for entry in walkdir::WalkDir::new(root) {
        let entry = entry.unwrap();
        let is_registry = entry.path().ends_with("refusal.rs");
        if entry.path().extension().is_some_and(|extension| extension == "rs") && !is_registry {
            sources.push_str(&fs::read_to_string(entry.path()).unwrap());
        }
    }
    let dead: Vec<String> =
        Code::ALL.iter().filter(|code| !sources.contains(&format!("Code::{code:?}"))).map(Code::to_string).collect();
    assert!(dead.is_empty(), "nothing refuses with {}", dead.join(", "));
}
