//! Leaving out: by which rules, read from where, and said in the snapshot.

use std::fs;
use std::path::Path;

use devvault::format::record::{Body, ExcludedBy, Exclusion};
use devvault::ops::backup::{self, Options, Planned};
use devvault::progress::Silent;
use devvault::refusal::Code;

use crate::support::{Forger, Home, assert_refused, skip, unchanged};

const SIGNATURE: &str = "Signature: 8a477f597d28d172789f06886806bc55\n# made by a test\n";

/// What a snapshot of the source holds, without directories.
fn files(home: &Home, number: u64) -> Vec<String> {
    let mut files = Vec::new();
    devvault::ops::ls::run(&home.access(), &number.to_string().parse().unwrap(), &Silent, |entry| {
        if !entry.is_directory() {
            files.push(entry.path.to_string());
        }
        Ok(())
    })
    .unwrap();
    files
}

/// What a dry run says, a line each.
fn plan(home: &Home, options: &Options) -> Vec<String> {
    let mut lines = Vec::new();
    let take = |planned: &Planned| {
        lines.push(match planned {
            Planned::Taken { path, .. } => format!("+ {path}"),
            Planned::Left(left) => {
                let from = left.why.from.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
                format!("- {} {from}:{} {}", left.path, left.why.line.unwrap_or_default(), left.why.rule)
            }
        });
        Ok(())
    };
    backup::plan(&home.access(), &home.source(), options, &Silent, take).unwrap();
    lines
}

/// The rules that the manifest of a snapshot names.
fn recorded(home: &Home, number: u64) -> Vec<Exclusion> {
    match Forger::new(home).record(number).body {
        Body::Snapshot(snapshot) => snapshot.excluded,
        _ => panic!("no snapshot"),
    }
}

#[test]
fn own_rules_count_for_the_directory_they_lie_in_and_the_deepest_decides() {
    let home = Home::with_vault();
    home.write_source(&[
        (".devvaultignore", "# builds\n*.o\n/only-here\nout/\n"),
        ("a.o", ""),
        ("only-here", ""),
        ("sub/only-here", ""),
        ("sub/out/x", ""),
        ("sub/.devvaultignore", "!keep.o\n*.tmp\n"),
        ("sub/keep.o", ""),
        ("sub/other.o", ""),
        ("sub/x.tmp", ""),
        ("x.tmp", ""),
    ]);
    let report = home.backup();
    assert_eq!(files(&home, 1), [".devvaultignore", "sub/.devvaultignore", "sub/keep.o", "sub/only-here", "x.tmp"]);
    let by = |rule: &str| {
        let exclusion = report.exclusions.iter().find(|one| one.rule == rule).unwrap();
        (
            exclusion.from.as_deref().map(|from| String::from_utf8_lossy(from).into_owned()),
            exclusion.line,
            exclusion.objects,
        )
    };
    assert_eq!(by("*.o"), (Some(".devvaultignore".into()), Some(2), 2));
    assert_eq!(by("out/"), (Some(".devvaultignore".into()), Some(4), 1));
    assert_eq!(by("*.tmp"), (Some("sub/.devvaultignore".into()), Some(2), 1));
    assert_eq!(report.excluded(), 5);
    assert_eq!(recorded(&home, 1), report.exclusions);
}

#[test]
fn rules_of_the_command_go_before_own_rules_and_these_before_those_of_git() {
    let home = Home::with_vault();
    home.write_source(&[
        (".gitignore", "*.log\ntarget/\n"),
        (".devvaultignore", "!target/\n*.big\n"),
        ("a.log", ""),
        ("b.big", ""),
        ("target/built", ""),
        ("target/inner.log", ""),
    ]);
    let options = |exclude: &[&str], gitignore| Options {
        exclude: exclude.iter().map(|&text| text.to_owned()).collect(),
        gitignore,
        ..Options::default()
    };
    home.try_backup(&options(&[], false)).unwrap();
    let all = [".devvaultignore", ".gitignore", "a.log", "target/built", "target/inner.log"];
    assert_eq!(files(&home, 1), all, "rules of git count only where they are asked for");
    home.try_backup(&options(&[], true)).unwrap();
    assert_eq!(files(&home, 2), [".devvaultignore", ".gitignore", "target/built"]);
    home.try_backup(&options(&["!a.log", "!b.big", "built"], true)).unwrap();
    assert_eq!(files(&home, 3), [".devvaultignore", ".gitignore", "a.log", "b.big"]);
    let kinds: Vec<ExcludedBy> = recorded(&home, 3).iter().map(|one| one.by).collect();
    assert!(kinds.contains(&ExcludedBy::Command) && kinds.contains(&ExcludedBy::Gitignore), "{kinds:?}");
}

#[test]
fn rules_of_git_say_nothing_of_its_own_directory_nor_of_a_repository_within() {
    let home = Home::with_vault();
    home.write_source(&[
        (".gitignore", "*.log\nlogs/\n.*\nconfig\n"),
        (".git/logs/HEAD", "x"),
        (".git/config", "x"),
        ("config", ""),
        ("logs/x", ""),
        (".hidden", ""),
        ("inner/.git/HEAD", ""),
        ("inner/deep/a.log", ""),
        ("inner/.gitignore", "b.log\n"),
        ("inner/b.log", ""),
        ("outer/a.log", ""),
    ]);
    home.try_backup(&Options { gitignore: true, ..Options::default() }).unwrap();
    assert_eq!(
        files(&home, 1),
        [".git/config", ".git/logs/HEAD", ".gitignore", "inner/.git/HEAD", "inner/.gitignore", "inner/deep/a.log"]
    );
}

#[test]
fn a_class_of_characters_matches_within_a_name_only() {
    let home = Home::with_vault();
    home.write_source(&[
        ("data/report", "x"),
        ("data/7", "x"),
        ("data7", "x"),
        ("data_tmp", "x"),
        ("sub/data_tmp/x", "x"),
        ("x/v", "x"),
        ("x.v", "x"),
    ]);
    let exclude = vec!["data[!0-9]*".to_owned(), "x[+-9]v".to_owned()];
    let report = home.try_backup(&Options { exclude, ..Options::default() }).unwrap();
    assert_eq!(files(&home, 1), ["data/7", "data/report", "data7", "x/v"]);
    let told: Vec<(&str, u64)> = report.exclusions.iter().map(|one| (one.rule.as_str(), one.objects)).collect();
    assert_eq!(told, [("data[!0-9]*", 2), ("x[+-9]v", 1)]);
    let exclude = vec!["**//".to_owned()];
    assert!(home.try_backup(&Options { exclude, ..Options::default() }).is_err(), "it would match every directory");
}

/// Compares with git itself, where it is there.
#[test]
fn what_git_ignores_is_what_is_left_out() {
    let home = Home::with_vault();
    home.write_source(&[
        (
            ".gitignore",
            "*.o\n!keep.o\n/build/\ndoc/*.txt\n**/gen/\nfoo/**/bar\n\\#x\n{a,b}\n[xyz].c\ntrailing  \nq?\n*~\na b\n",
        ),
        ("x.o", ""),
        ("keep.o", ""),
        ("build/x", ""),
        ("sub/build/x", ""),
        ("doc/a.txt", ""),
        ("doc/deep/a.txt", ""),
        ("sub/gen/x", ""),
        ("foo/bar", ""),
        ("foo/1/2/bar/x", ""),
        ("#x", ""),
        ("a", ""),
        ("{a,b}", ""),
        ("x.c", ""),
        ("w.c", ""),
        ("trailing", ""),
        ("qé", ""),
        ("q1", ""),
        ("save~", ""),
        ("a b", ""),
        ("sub/.gitignore", "!*.o\n/x\n*\n!*/\n!y\n"),
        ("sub/z.o", ""),
        ("sub/y", ""),
        ("sub/deeper/y", ""),
        ("sub/deeper/z", ""),
    ]);
    let git = |arguments: &[&str]| {
        let mut command = std::process::Command::new("git");
        command
            .args(arguments)
            .current_dir(home.source())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1");
        command.output().ok().filter(|output| output.status.success())
    };
    if git(&["init", "-q"]).is_none() {
        skip("git is not there");
        return;
    }
    let listed = git(&["ls-files", "-z", "--others", "--exclude-standard"]).unwrap().stdout;
    let mut taken: Vec<String> = String::from_utf8(listed).unwrap().split_terminator('\0').map(str::to_owned).collect();
    // A file of rules is taken whatever rules say of it.
    taken.extend(["sub/.gitignore".to_owned()]);
    taken.sort();
    taken.dedup();
    home.try_backup(&Options { gitignore: true, ..Options::default() }).unwrap();
    let mut files: Vec<String> = files(&home, 1).into_iter().filter(|path| !path.starts_with(".git/")).collect();
    files.sort();
    assert_eq!(files, taken);
}

#[test]
fn rules_from_a_file_are_named_by_their_lines() {
    let home = Home::with_vault();
    home.write_source(&[("a.o", ""), ("b.o", ""), ("keep", ""), ("c.tmp", "")]);
    fs::write(home.path("rules"), "# mine\n\n*.o\n*.never\n").unwrap();
    let options = Options {
        exclude_from: vec![home.path("rules")],
        exclude: vec!["*.tmp".into(), "*.no".into()],
        ..Options::default()
    };
    home.try_backup(&options).unwrap();
    assert_eq!(files(&home, 1), ["keep"]);
    let recorded = recorded(&home, 1);
    let of_file: Vec<&Exclusion> = recorded.iter().filter(|one| one.by == ExcludedBy::ExcludeFrom).collect();
    assert_eq!((of_file.len(), of_file[0].line, of_file[0].objects), (1, Some(3), 2));
    assert!(of_file[0].from.as_deref().unwrap().ends_with(b"rules"));
    // What the command says is recorded even where it left out nothing.
    let of_command: Vec<(&str, u64)> = recorded
        .iter()
        .filter(|one| one.by == ExcludedBy::Command)
        .map(|one| (one.rule.as_str(), one.objects))
        .collect();
    assert_eq!(of_command, [("*.no", 0), ("*.tmp", 1)]);
}

#[test]
fn rules_that_cannot_be_used_refuse_with_the_complete_list() {
    let home = Home::with_snapshot();
    home.write_source(&[
        (".devvaultignore", "fine\n[z-a]\n"),
        ("sub/.devvaultignore", "[unclosed\n"),
        ("x/.gitignore", "[z-a]\n"),
    ]);
    let refusal = unchanged(&home.vault().join("snapshots"), || {
        assert_refused(Code::SourceRules, home.try_backup(&Options::default()))
    });
    let paths: Vec<String> = refusal.paths.iter().map(ToString::to_string).collect();
    assert_eq!(paths, [".devvaultignore"], "of what it rules nothing is known");
    assert!(refusal.causes[0].contains("line 2"), "{:?}", refusal.causes);
    fs::write(home.source().join(".devvaultignore"), "").unwrap();
    let refusal =
        assert_refused(Code::SourceRules, home.try_backup(&Options { gitignore: true, ..Options::default() }));
    let paths: Vec<String> = refusal.paths.iter().map(ToString::to_string).collect();
    assert_eq!(paths, ["sub/.devvaultignore", "x/.gitignore"]);
    fs::write(home.source().join("sub/.devvaultignore"), "\u{feff}*.o\r\n").unwrap();
    home.backup();
    for (name, content) in [("no-utf8", &b"\xff"[..]), ("long", &vec![b'\n'; (1 << 20) + 1]), ("bad", b"ok\n[")] {
        fs::write(home.path(name), content).unwrap();
        let options = Options { exclude_from: vec![home.path(name)], ..Options::default() };
        assert_refused(Code::SourceRules, home.try_backup(&options));
    }
    let options = Options { exclude_from: vec![home.path("nowhere")], ..Options::default() };
    assert_refused(Code::SourceRules, home.try_backup(&options));
}

// Unix alone: links that any account may make.
#[cfg(unix)]
#[test]
fn a_link_is_no_file_of_rules() {
    let home = Home::with_vault();
    home.write_source(&[("a", ""), ("rules", "*\n"), (".gitignore", "->rules")]);
    home.try_backup(&Options { gitignore: true, ..Options::default() }).unwrap();
    assert_eq!(files(&home, 1), [".gitignore", "a", "rules"], "git does not follow it either");
    std::os::unix::fs::symlink("rules", home.source().join(".devvaultignore")).unwrap();
    let refusal = assert_refused(Code::SourceRules, home.try_backup(&Options::default()));
    assert!(refusal.causes[0].contains("symbolic link"), "{:?}", refusal.causes);
}

#[test]
fn caches_are_taken_without_their_content_where_the_signature_is_right() {
    let home = Home::with_vault();
    home.write_source(&[
        ("CACHEDIR.TAG", SIGNATURE),
        ("cache/CACHEDIR.TAG", SIGNATURE),
        ("cache/big", "x"),
        ("cache/deep/big", "x"),
        ("wrong/CACHEDIR.TAG", "Signature: something else"),
        ("wrong/file", "x"),
        ("short/CACHEDIR.TAG", "Sig"),
        ("short/file", "x"),
    ]);
    home.backup();
    assert_eq!(files(&home, 1).len(), 8);
    let report = home.try_backup(&Options { exclude_caches: true, ..Options::default() }).unwrap();
    assert_eq!(
        files(&home, 2),
        ["CACHEDIR.TAG", "cache/CACHEDIR.TAG", "short/CACHEDIR.TAG", "short/file", "wrong/CACHEDIR.TAG", "wrong/file"],
        "what the operator named is not a cache to leave out"
    );
    let caches: Vec<&Exclusion> = report.exclusions.iter().filter(|one| one.by == ExcludedBy::Caches).collect();
    assert_eq!((caches.len(), caches[0].objects, caches[0].from.as_deref()), (1, 2, Some(&b"cache"[..])));
}

// Linux alone: mounts in a namespace.
#[cfg(target_os = "linux")]
#[test]
fn other_file_systems_are_taken_without_their_content() {
    let home = Home::with_vault();
    home.write_source(&[("here", "x"), ("mounted/", ""), ("z", "")]);
    // In a private mount namespace, which needs root.
    let script = r#"mount -t tmpfs none "$1" && touch "$1/inside" && shift && "$@""#;
    let program = home.program();
    let run = |more: &[&str]| {
        let mut command = std::process::Command::new("unshare");
        command
            .arg("-m")
            .args(["sh", "-c", script, "sh"])
            .arg(home.source().join("mounted"))
            .arg(program.get_program());
        for (name, value) in program.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        command.arg("--vault").arg(home.vault()).args(["--json", "backup"]).arg(home.source()).args(more);
        let output = command.output().ok()?;
        serde_json::from_slice::<serde_json::Value>(&output.stdout).ok()
    };
    let Some(document) = run(&[]) else {
        skip("this user may not mount");
        return;
    };
    assert_eq!((&document["files"], &document["excluded"]), (&3.into(), &0.into()));
    let document = run(&["--one-file-system"]).unwrap();
    assert_eq!(
        (&document["files"], &document["excluded"], &document["directories"]),
        (&2.into(), &1.into(), &2.into())
    );
    assert_eq!(document["exclusions"][0]["by"], "one-file-system");
    assert_eq!(document["exclusions"][0]["from"], "mounted");
    assert_eq!(files(&home, 2), ["here", "z"]);
}

#[test]
fn a_dry_run_says_what_would_be_taken_and_why_not_and_writes_nothing() {
    let home = Home::with_vault();
    home.write_source(&[
        (".devvaultignore", "*.o\n"),
        ("a.o", ""),
        ("b", "123"),
        ("cache/CACHEDIR.TAG", SIGNATURE),
        ("cache/x", ""),
        ("d/e.o", ""),
    ]);
    let options = Options { exclude: vec!["/b".into()], exclude_caches: true, ..Options::default() };
    let lines = unchanged(&home.vault(), || plan(&home, &options));
    assert_eq!(
        lines,
        [
            "+ .",
            "+ .devvaultignore",
            "- a.o .devvaultignore:1 *.o",
            "- b :0 /b",
            "+ cache",
            "- cache cache:0 ",
            "+ cache/CACHEDIR.TAG",
            "+ d",
            "- d/e.o .devvaultignore:1 *.o",
        ]
    );
    // And that is what is taken.
    home.try_backup(&options).unwrap();
    assert_eq!(files(&home, 1), [".devvaultignore", "cache/CACHEDIR.TAG"]);
    let source = home.source();
    let source = source.to_str().unwrap();
    let (exit, document) = home.json(&["backup", source, "--dry-run", "--exclude", "/b"]);
    assert_eq!((exit, &document["schema"], &document["ok"]), (0, &"devvault.plan/1".into(), &true.into()));
    let left = document["objects"].as_array().unwrap().iter().find(|one| one["path"] == "a.o").unwrap();
    assert_eq!(
        (&left["take"], &left["by"], &left["from"], &left["line"], &left["rule"]),
        (&false.into(), &"devvaultignore".into(), &".devvaultignore".into(), &1.into(), &"*.o".into())
    );
    let taken = document["objects"].as_array().unwrap().iter().find(|one| one["path"] == "cache/x").unwrap();
    assert_eq!((&taken["take"], &taken["bytes"]), (&true.into(), &0.into()));
    assert_eq!((&document["excluded"], &document["files"]), (&3.into(), &3.into()));
    let output = home.run(&["backup", source, "--dry-run"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("- a.o  (.devvaultignore:1: *.o)") && text.contains("nothing was written"), "{text}");
}

/// Everything of a difficult tree, and rules of every kind: what a dry run says and what a backup takes are one.
// Linux alone: pipes, sockets and names of any bytes.
#[cfg(target_os = "linux")]
#[test]
fn a_dry_run_and_the_backup_agree_to_the_last_object() {
    let home = Home::with_vault();
    crate::difficult::generate(&home.source(), crate::difficult::Powers::all());
    home.write_source(&[
        (".gitignore", "*.log\n"),
        ("a.log", ""),
        ("cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n"),
        ("cache/x", "x"),
        ("rules/.devvaultignore", "*.tmp\n!kept.tmp\n"),
        ("rules/kept.tmp", "x"),
        ("rules/x.tmp", ""),
    ]);
    let options =
        Options { exclude: vec!["/names/bytes/".into()], exclude_caches: true, gitignore: true, ..Options::default() };
    let mut planned = Vec::new();
    let report = plan_run(&home, &options, &mut planned);
    let taken = home.try_backup(&options).unwrap();
    assert_eq!(report.counts, taken.counts);
    assert_eq!(report.exclusions, taken.exclusions);
    assert!(report.exclusions.iter().filter(|one| one.objects > 0).count() >= 3, "{:?}", report.exclusions);
    let mut found = Vec::new();
    devvault::ops::ls::run(&home.access(), &"1".parse().unwrap(), &Silent, |entry| {
        found.push((entry.path.clone(), entry.file().map(|file| file.size)));
        Ok(())
    })
    .unwrap();
    assert_eq!(planned, found);
    crate::difficult::remove(&home.path(""));
}

/// What a dry run would take, with lengths.
#[cfg(target_os = "linux")]
fn plan_run(
    home: &Home,
    options: &Options,
    planned: &mut Vec<(devvault::path::EntryPath, Option<u64>)>,
) -> backup::Plan {
    backup::plan(&home.access(), &home.source(), options, &Silent, |one| {
        if let Planned::Taken { path, bytes, .. } = one {
            planned.push((path.clone(), *bytes));
        }
        Ok(())
    })
    .unwrap()
}

#[test]
fn a_dry_run_needs_no_vault_and_makes_none() {
    let home = Home::new();
    home.write_source(&[("a", ""), (".devvaultignore", "[z-a]\n")]);
    let output = home.program().args(["backup", "--dry-run"]).arg(home.source()).output().unwrap();
    assert_eq!(output.status.code(), Some(18), "it refuses what a backup would refuse");
    fs::remove_file(home.source().join(".devvaultignore")).unwrap();
    let output = home.program().args(["backup", "--dry-run"]).arg(home.source()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    for made in ["data-home", "config/keys", "state/witness"] {
        assert!(!home.path(made).exists(), "{made} was made");
    }
    let nowhere = home.program().args(["backup", "--dry-run", "nowhere"]).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(18));
}

#[test]
fn what_was_left_out_is_told_by_every_report() {
    let home = Home::with_vault();
    home.write_source(&[(".devvaultignore", "*.o\n"), ("a.o", ""), ("b.o", ""), ("c", "")]);
    let output = home.run(&["backup", home.source().to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("2 object(s) left out by 1 rule(s)") && text.contains(".devvaultignore:1: *.o"), "{text}");
    let text = String::from_utf8(home.run(&["snapshots"]).stdout).unwrap();
    assert!(text.contains("2 object(s) left out by 1 rule(s)"), "{text}");
    let (_, document) = home.json(&["snapshots"]);
    assert_eq!(document["snapshots"][0]["exclusions"][0]["objects"], 2);
    assert!(Path::new(&home.vault()).exists());
}

/// Has another process hold a file by a lease, as a file server does, until its standard input ends.
#[cfg(target_os = "linux")]
fn lease(file: &Path) -> Option<std::process::Child> {
    use std::io::Read as _;
    let script = "import fcntl,os,signal,sys\n\
        signal.signal(signal.SIGIO, signal.SIG_IGN)\n\
        fd = os.open(sys.argv[1], os.O_RDWR)\n\
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)\n\
        sys.stdout.write('!')\n\
        sys.stdout.flush()\n\
        sys.stdin.read()\n";
    let mut command = std::process::Command::new("python3");
    command.args(["-c", script]).arg(file);
    command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null());
    let mut child = command.spawn().ok()?;
    let mut held = [0];
    let ready = child.stdout.as_mut()?.read(&mut held).is_ok_and(|count| count == 1);
    if ready {
        return Some(child);
    }
    let _ = child.wait();
    None
}

// Linux alone: leases; the share modes of Windows have a test of their own.
#[cfg(target_os = "linux")]
#[test]
fn files_that_another_process_holds_are_refused_with_the_complete_list() {
    let home = Home::with_vault();
    home.write_source(&[("a", "free"), ("b", "held"), ("sub/c", "held too")]);
    let holders = [lease(&home.source().join("b")), lease(&home.source().join("sub/c"))];
    let [Some(mut one), Some(mut two)] = holders else {
        skip("no leases here");
        return;
    };
    let result = home.try_backup(&Options::default());
    for child in [&mut one, &mut two] {
        drop(child.stdin.take());
        child.wait().unwrap();
    }
    let refusal = assert_refused(Code::SourceHeld, result);
    let paths: Vec<String> = refusal.paths.iter().map(ToString::to_string).collect();
    assert_eq!(paths, ["b", "sub/c"]);
    // Who held them has let them go.
    assert_eq!(home.backup().counts.files, 3);
}

// Windows alone: share modes; the leases of Linux have a test of their own.
#[cfg(windows)]
#[test]
fn files_that_another_process_holds_are_refused_with_the_complete_list() {
    use std::os::windows::fs::OpenOptionsExt;
    let home = Home::with_vault();
    home.write_source(&[("a", "free"), ("b", "held")]);
    let held = fs::File::options().read(true).share_mode(0).open(home.source().join("b")).unwrap();
    let refusal = assert_refused(Code::SourceHeld, home.try_backup(&Options::default()));
    assert_eq!(refusal.paths.iter().map(ToString::to_string).collect::<Vec<_>>(), ["b"]);
    drop(held);
    home.backup();
}

// Windows alone: its marks of what lies in a cloud.
#[cfg(windows)]
#[test]
fn placeholders_are_refused_with_the_complete_list_and_not_fetched() {
    let home = Home::with_vault();
    home.write_source(&[("a", "here"), ("b", "elsewhere"), ("sub/c", "elsewhere")]);
    for name in ["b", "sub/c"] {
        let marked = std::process::Command::new("attrib").arg("+O").arg(home.source().join(name)).status();
        assert!(marked.unwrap().success());
    }
    let is_marked = std::os::windows::fs::MetadataExt::file_attributes(&fs::metadata(home.source().join("b")).unwrap());
    if is_marked & 0x1000 == 0 {
        return skip("the file system takes the mark and does not keep it");
    }
    let refusal = assert_refused(Code::SourceElsewhere, home.try_backup(&Options::default()));
    assert_eq!(refusal.paths.iter().map(ToString::to_string).collect::<Vec<_>>(), ["b", "sub/c"]);
    let exclude = vec!["b".into(), "c".into()];
    assert_eq!(home.try_backup(&Options { exclude, ..Options::default() }).unwrap().counts.files, 1);
}
