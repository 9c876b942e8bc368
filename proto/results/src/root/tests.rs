//! What a checkout of a stranger can hold.

use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;

use rustix::fs::OFlags;

use super::open::step_by_step;
use super::*;

/// A folder `checkout` with links of every kind, and a file beside it.
fn checkout() -> (tempfile::TempDir, Root) {
    let around = tempfile::tempdir().unwrap();
    let inside = around.path().join("checkout");
    fs::create_dir_all(inside.join("sub")).unwrap();
    fs::write(around.path().join("outside"), "outside").unwrap();
    fs::write(inside.join("file"), "file").unwrap();
    fs::write(inside.join("sub/deep"), "deep").unwrap();
    let outside = around.path().join("outside");
    for (target, name) in [
        (Path::new("../outside"), "up"),
        (&outside, "absolute"),
        (Path::new("file"), "same"),
        (Path::new("sub/../file"), "round"),
        (Path::new("sub"), "folder"),
        (Path::new(".."), "parent"),
        (Path::new("loop"), "loop"),
        (Path::new("nowhere"), "dead"),
        (Path::new("/proc/self/environ"), "environ"),
        (Path::new("/proc/self/fd/0"), "magic"),
        (Path::new("/dev/zero"), "zero"),
    ] {
        symlink(target, inside.join(name)).unwrap();
    }
    let root = Root::open(&inside).unwrap();
    (around, root)
}

fn read(root: &Root, below: &str) -> Result<String, Refused> {
    root.read(Path::new(below), 100).map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn links_are_followed_below_the_folder_alone() {
    let (_around, root) = checkout();
    for below in ["file", "same", "round"] {
        assert_eq!(read(&root, below).as_deref(), Ok("file"), "{below}");
    }
    assert_eq!(read(&root, "folder/deep").as_deref(), Ok("deep"));
    for below in
        ["up", "absolute", "parent/outside", "environ", "zero", "../outside", "/etc/passwd", "", "./file"]
    {
        assert_eq!(read(&root, below), Err(Refused::Outside), "{below}");
    }
    assert!(matches!(read(&root, "magic"), Err(Refused::Outside | Refused::System(_))));
    assert_eq!(read(&root, "dead"), Err(Refused::Missing));
    assert!(matches!(read(&root, "loop"), Err(Refused::System(_))));
    assert_eq!(read(&root, "sub"), Err(Refused::Folder));
}

#[test]
fn without_the_call_of_the_kernel_no_link_is_followed() {
    let (_around, root) = checkout();
    let open = |below: &str| step_by_step(root.folder.as_fd(), Path::new(below), OFlags::RDONLY).map(drop);
    assert_eq!((open("file"), open("sub/deep")), (Ok(()), Ok(())));
    for below in
        ["same", "round", "up", "absolute", "folder/deep", "parent/outside", "loop", "environ", "zero"]
    {
        assert_eq!(open(below), Err(Refused::Unfollowed), "{below}");
    }
    assert_eq!(open("nowhere"), Err(Refused::Missing));
}

#[test]
fn what_is_not_a_file_on_a_disk_is_refused_at_once() {
    let (around, root) = checkout();
    let inside = around.path().join("checkout");
    let _listener = UnixListener::bind(inside.join("socket")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(inside.join("pipe")).status().unwrap().success());
    assert_eq!(read(&root, "pipe"), Err(Refused::Special("named pipe")));
    assert_eq!(read(&root, "socket"), Err(Refused::Special("socket")));
    assert_eq!(named(Path::new("/dev/null")).map(drop), Err(Refused::Special("device")));
    assert_eq!(named(&inside).map(drop), Err(Refused::Folder));
    assert_eq!(named(&inside.join("up")).map(drop), Ok(()), "what a person named");
    #[cfg(target_os = "linux")]
    {
        for path in ["/proc/self/environ", "/proc/self/status", "/sys/kernel/mm/transparent_hugepage/enabled"]
        {
            if Path::new(path).exists() {
                assert_eq!(named(Path::new(path)).map(drop), Err(Refused::Kernel), "{path}");
            }
        }
        let proc = Root::open(Path::new("/proc/self")).unwrap();
        assert_eq!(proc.read(Path::new("environ"), 100), Err(Refused::Kernel));
    }
}

#[test]
fn a_folder_lists_its_names_with_their_kinds() {
    let (_around, root) = checkout();
    let mut found = root.list(Path::new("sub")).unwrap();
    assert_eq!(found, [("deep".into(), Kind::File)]);
    found = root.list(Path::new("")).unwrap();
    found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let of = |name: &str| found.iter().find(|(found, _)| found == name).map(|(_, kind)| *kind);
    assert_eq!((of("file"), of("sub"), of("up")), (Some(Kind::File), Some(Kind::Folder), Some(Kind::Link)));
    assert_eq!(found.len(), 13, "{found:?}");
    assert_eq!(root.list(Path::new("parent")), Err(Refused::Outside));
}

#[test]
fn a_file_is_replaced_whole_with_its_mode() {
    let (around, root) = checkout();
    let inside = around.path().join("checkout");
    let mode = |name: &str| fs::metadata(inside.join(name)).unwrap().permissions().mode() & 0o777;
    fs::set_permissions(inside.join("file"), fs::Permissions::from_mode(0o640)).unwrap();
    root.replace(Path::new("file"), b"new", 0o600).unwrap();
    root.replace(Path::new("sub/secret"), b"s", 0o600).unwrap();
    root.replace(Path::new("plain"), b"p", 0o644).unwrap();
    assert_eq!((read(&root, "file").as_deref(), mode("file")), (Ok("new"), 0o640));
    assert_eq!((read(&root, "sub/secret").as_deref(), mode("sub/secret")), (Ok("s"), 0o600));
    assert_eq!(mode("plain"), 0o644);
    assert_eq!(root.list(Path::new("sub")).unwrap().len(), 2, "nothing is left behind");
    assert_eq!(root.read_to_replace(Path::new("plain"), 100), Ok(Some(b"p".to_vec())));
    assert_eq!(root.read_to_replace(Path::new("no"), 100), Ok(None));
}

#[test]
fn nothing_is_written_through_a_link_or_over_what_is_not_a_file() {
    let (around, root) = checkout();
    let inside = around.path().join("checkout");
    fs::hard_link(around.path().join("outside"), inside.join("hard")).unwrap();
    for (below, why) in [
        ("same", Refused::Link),
        ("up", Refused::Link),
        ("absolute", Refused::Link),
        ("dead", Refused::Link),
        ("environ", Refused::Link),
        ("parent/outside", Refused::Outside),
        ("hard", Refused::HardLinks),
        ("sub", Refused::Folder),
        ("none/file", Refused::Missing),
    ] {
        assert_eq!(root.replace(Path::new(below), b"x", 0o600), Err(why.clone()), "{below}");
        assert_eq!(root.read_to_replace(Path::new(below), 100), Err(why), "{below}");
    }
    assert_eq!(fs::read_to_string(around.path().join("outside")).unwrap(), "outside");
    assert_eq!(read(&root, "file").as_deref(), Ok("file"));
    let left: Vec<_> = root.list(Path::new("")).unwrap();
    assert!(left.iter().all(|(name, _)| !name.to_string_lossy().starts_with(".unfinished")), "{left:?}");
}

#[test]
fn a_file_with_several_names_is_rewritten_under_all_of_them() {
    use std::os::unix::fs::MetadataExt as _;
    let (around, root) = checkout();
    let inside = around.path().join("checkout");
    fs::create_dir(inside.join(".hidden")).unwrap();
    fs::set_permissions(inside.join("file"), fs::Permissions::from_mode(0o640)).unwrap();
    for other in ["sub/other", ".hidden/third"] {
        fs::hard_link(inside.join("file"), inside.join(other)).unwrap();
    }
    assert_eq!(root.read_to_rewrite(Path::new("file"), 100), Ok(Some(b"file".to_vec())));
    let others = root.rewrite(Path::new("file"), b"new").unwrap();
    assert_eq!(others, [Path::new(".hidden/third"), Path::new("sub/other")]);
    let stat = |name: &str| fs::metadata(inside.join(name)).unwrap();
    let (inode, mode) = (stat("file").ino(), stat("file").permissions().mode() & 0o777);
    assert_eq!((stat("file").nlink(), mode), (3, 0o640));
    for name in ["file", "sub/other", ".hidden/third"] {
        assert_eq!((read(&root, name).as_deref(), stat(name).ino()), (Ok("new"), inode), "{name}");
    }
    // One name is enough, too.
    assert_eq!(root.rewrite(Path::new("sub/deep"), b"deeper"), Ok(Vec::new()));
    assert_eq!(read(&root, "sub/deep").as_deref(), Ok("deeper"));
    // A name outside keeps its text, and so do all.
    fs::hard_link(inside.join("file"), around.path().join("away")).unwrap();
    assert_eq!(root.rewrite(Path::new("file"), b"newer"), Err(Refused::HardLinks));
    assert_eq!(read(&root, "sub/other").as_deref(), Ok("new"));
    assert_eq!(root.rewrite(Path::new("same"), b"x"), Err(Refused::Link));
    assert_eq!(root.rewrite(Path::new("no"), b"x"), Err(Refused::Missing));
    for folder in ["", "sub", ".hidden"] {
        let left = root.list(Path::new(folder)).unwrap();
        assert!(left.iter().all(|(name, _)| !name.to_string_lossy().starts_with(".unfinished")), "{left:?}");
    }
}

#[test]
fn files_alone_are_removed_and_below_the_folder_alone() {
    let (around, root) = checkout();
    assert_eq!(root.remove(Path::new("sub/deep")), Ok(()));
    assert!(!around.path().join("checkout/sub/deep").exists());
    assert_eq!(root.remove(Path::new("sub/deep")), Err(Refused::Missing));
    assert_eq!(root.remove(Path::new("sub")), Err(Refused::Folder));
    assert_eq!(root.remove(Path::new("up")), Err(Refused::Link));
    assert_eq!(root.remove(Path::new("same")), Err(Refused::Link));
    for below in ["../outside", "parent/outside"] {
        assert_eq!(root.remove(Path::new(below)), Err(Refused::Outside), "{below}");
    }
    assert!(around.path().join("outside").exists() && around.path().join("checkout/file").exists());
}
