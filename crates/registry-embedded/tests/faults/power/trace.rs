//! What processes asked of the kernel, as `strace` recorded it: in one order for all of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What is recorded: all that changes files or makes them last, and what shows where bytes go.
pub(crate) const CALLS: &str = "trace=open,openat,creat,write,writev,pwrite64,pwritev,pwritev2,lseek,\
    fsync,fdatasync,sync_file_range,ftruncate,truncate,fallocate,rename,renameat,renameat2,link,\
    linkat,unlink,unlinkat,rmdir,mkdir,mkdirat,mmap,copy_file_range,sendfile,splice";

/// One step of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Opened with leave to make it.
    Make(PathBuf),
    MakeDir(PathBuf),
    Write(PathBuf, usize, Vec<u8>),
    Truncate(PathBuf, usize),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
    /// A thread began to make a file or directory last ...
    SyncBegins(u32, PathBuf),
    /// ... and was told that it does.
    SyncEnds(u32),
    /// Written to a pipe, as the process began to.
    Tell(String, String),
}

/// Reads a record, of which only what is below `root`, and what is told, counts.
///
/// # Panics
/// At a call that could change files and is not understood.
pub(crate) fn read(record: &str, root: &Path) -> Vec<Step> {
    let mut reader = Reader { root, begun: BTreeMap::new(), at: BTreeMap::new(), steps: vec![] };
    for line in record.lines() {
        let (thread, rest) = line.split_once(' ').expect("each line begins with a thread's id");
        reader.line(thread.parse().expect("an id is a number"), rest.trim_start());
    }
    reader.steps
}

struct Reader<'a> {
    root: &'a Path,
    /// The beginnings of calls that have not ended, by thread.
    begun: BTreeMap<u32, String>,
    /// Where the next plain write of a thread goes, by descriptor.
    at: BTreeMap<(u32, String), usize>,
    steps: Vec<Step>,
}

impl Reader<'_> {
    fn line(&mut self, thread: u32, line: &str) {
        if let Some(begin) = line.strip_suffix(" <unfinished ...>") {
            self.begin(thread, begin);
            self.begun.insert(thread, begin.to_owned());
        } else if let Some((_, end)) = line.strip_prefix("<... ").and_then(|it| it.split_once('>'))
        {
            // The end of one that began before the record did is of no interest.
            if let Some(begin) = self.begun.remove(&thread) {
                self.end(thread, &format!("{begin}{end}"));
            }
        } else if !line.starts_with("+++") && !line.starts_with("---") {
            self.begin(thread, line);
            self.end(thread, line);
        }
    }

    /// What counts from the moment it is begun.
    fn begin(&mut self, thread: u32, call: &str) {
        let (name, arguments) = call.split_once('(').expect("a call has arguments");
        match name {
            "write" if arguments.starts_with("1<pipe:") => {
                let pipe = arguments.split(',').next().expect("the first argument").to_owned();
                let told = String::from_utf8(bytes(arguments)).expect("peers tell text");
                self.steps.push(Step::Tell(pipe, told));
            }
            "fsync" | "fdatasync" => {
                if let Some(path) = self.of_descriptor(arguments) {
                    self.steps.push(Step::SyncBegins(thread, path));
                }
            }
            _ => {}
        }
    }

    /// What counts once it is done, if it was.
    fn end(&mut self, thread: u32, call: &str) {
        let (call, result) = call.rsplit_once(" = ").expect("a call that ended has a result");
        let (name, arguments) = call.split_once('(').expect("a call has arguments");
        if result.starts_with('-') || result.starts_with('?') {
            return;
        }
        let path = self.of_descriptor(arguments);
        let number = |text: &str| text.split([' ', '<']).next()?.parse::<usize>().ok();
        match (name, path) {
            ("openat" | "open" | "creat", _) => self.open(arguments),
            ("mkdir", _) => {
                let made = self.named(arguments).map(Step::MakeDir);
                self.steps.extend(made);
            }
            ("unlink", _) => {
                let removed = self.named(arguments).map(Step::Remove);
                self.steps.extend(removed);
            }
            ("rename", _) => {
                let names: Vec<_> = quoted(arguments).map(PathBuf::from).collect();
                let [from, to] = &names[..] else { panic!("two names: {call}") };
                if from.starts_with(self.root) {
                    self.steps.push(Step::Rename(from.clone(), to.clone()));
                }
            }
            ("lseek", Some(_)) => {
                let at = number(result).expect("a place is a number");
                self.at.insert(descriptor(thread, arguments), at);
            }
            ("write", Some(path)) => {
                let length = number(result).expect("a length");
                let at = self.at.entry(descriptor(thread, arguments)).or_default();
                let written = bytes(arguments)[..length].to_vec();
                self.steps.push(Step::Write(path, *at, written));
                *at += length;
            }
            ("pwrite64", Some(path)) => {
                let length = number(result).expect("a length");
                let at = last_number(arguments);
                self.steps.push(Step::Write(path, at, bytes(arguments)[..length].to_vec()));
            }
            ("ftruncate", Some(path)) => {
                self.steps.push(Step::Truncate(path, last_number(arguments)));
            }
            ("fsync" | "fdatasync", Some(_)) => self.steps.push(Step::SyncEnds(thread)),
            ("mmap", _) => self.map(arguments),
            // To a pipe, whatever it says.
            ("write", None) if !self.is_of_root(arguments) => {}
            (_, None) if !arguments.contains(&*self.root.to_string_lossy()) => {}
            _ => panic!("a call that is not understood: {call}"),
        }
    }

    fn open(&mut self, arguments: &str) {
        let Some(path) = self.named(arguments) else { return };
        if arguments.contains("O_CREAT") {
            self.steps.push(Step::Make(path.clone()));
        }
        if arguments.contains("O_TRUNC") {
            self.steps.push(Step::Truncate(path, 0));
        }
    }

    /// Only what is not needed after a crash may be written without a call.
    fn map(&self, arguments: &str) {
        let shared = arguments.contains("PROT_WRITE") && arguments.contains("MAP_SHARED");
        let ours = arguments.contains(&*self.root.to_string_lossy());
        assert!(!(shared && ours) || arguments.contains("-shm>"), "written by mmap: {arguments}");
    }

    /// The file of the first argument, `7</path>`, if it is one of ours.
    fn of_descriptor(&self, arguments: &str) -> Option<PathBuf> {
        let first = arguments.split([',', ')']).next()?;
        let path = PathBuf::from(first.split_once('<')?.1.strip_suffix('>')?);
        path.starts_with(self.root).then_some(path)
    }

    /// Whether the first argument's descriptor is of a file of ours, though it may be gone by now.
    fn is_of_root(&self, arguments: &str) -> bool {
        let descriptor = arguments.split([',', ')']).next().unwrap_or_default();
        descriptor.contains(&*self.root.to_string_lossy())
    }

    /// The first name given, if it is one of ours.
    fn named(&self, arguments: &str) -> Option<PathBuf> {
        let path = PathBuf::from(quoted(arguments).next()?);
        path.starts_with(self.root).then_some(path)
    }
}

fn descriptor(thread: u32, arguments: &str) -> (u32, String) {
    (thread, arguments.split('<').next().unwrap_or_default().to_owned())
}

/// The number in the last argument.
fn last_number(arguments: &str) -> usize {
    let last = arguments.trim_end().trim_end_matches(')').rsplit(", ").next();
    last.and_then(|text| text.parse().ok()).expect("the last argument is a number")
}

fn quoted(arguments: &str) -> impl Iterator<Item = &str> {
    arguments.split('"').skip(1).step_by(2)
}

/// The bytes of the one string among the arguments, which must be whole.
fn bytes(arguments: &str) -> Vec<u8> {
    let text = arguments.split_once('"').expect("a string").1;
    let mut bytes = Vec::with_capacity(text.len() / 4);
    let mut rest = text.bytes();
    loop {
        match rest.next().expect("the string ends") {
            b'"' => break,
            b'\\' => bytes.push(escaped(&mut rest)),
            plain => bytes.push(plain),
        }
    }
    assert_ne!(rest.next(), Some(b'.'), "the string was cut");
    bytes
}

/// With `-x` a string with any byte that is not text is all `\x..`; others know the usual signs.
fn escaped(rest: &mut impl Iterator<Item = u8>) -> u8 {
    let mut next = || rest.next().expect("an escape is whole");
    match next() {
        b'x' => {
            let pair = [next(), next()];
            let pair = std::str::from_utf8(&pair).expect("two digits");
            u8::from_str_radix(pair, 16).expect("two digits")
        }
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'v' => 0x0b,
        b'f' => 0x0c,
        same @ (b'"' | b'\\') => same,
        other => panic!("an escape that is not understood: \\{}", char::from(other)),
    }
}

#[test]
fn what_a_process_says_of_a_file_is_no_write_to_it() {
    let record = "7 write(1<pipe:[9]>, \"trouble /r/registry.db\\n\", 23) = 23\n\
                  7 write(2</dev/null>, \"/r/registry.db\", 14) = 14\n\
                  7 write(3</r/a>, \"x\", 1) = 1\n";
    let told = Step::Tell("1<pipe:[9]>".to_owned(), "trouble /r/registry.db\n".to_owned());
    let written = Step::Write("/r/a".into(), 0, b"x".to_vec());
    assert_eq!(read(record, Path::new("/r")), [told, written]);
}
