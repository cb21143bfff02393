//! Taking snapshots, and taking them again.

use crate::support::{Home, SMALL_TREE, picture};

#[test]
fn a_snapshot_restores_exactly() {
    let home = Home::with_vault();
    home.write_source(&SMALL_TREE);
    #[cfg(unix)]
    home.write_source(&[("link", "->src/main.rs"), ("dangling", "->nowhere")]);
    let report = home.backup();
    assert_eq!(report.snapshot, 1);
    let restored = home.restore("latest", "restored").unwrap();
    assert!(restored.verified);
    assert_eq!(picture(&home.path("restored")), picture(&home.source()));
}

#[test]
fn an_unchanged_source_is_not_read_again() {
    let home = Home::with_snapshot();
    let second = home.backup();
    assert_eq!(second.files_unchanged, second.counts.files);
    assert_eq!(home.verify(&[]).unwrap().snapshots.len(), 2);
}
