use super::*;

/// The processor's time of this thread in milliseconds: a busy machine does not count.
fn cpu_time() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec * 1000 + time.tv_nsec / 1_000_000
}

fn code(text: &str) -> Code {
    parse(text).map(|_| ()).unwrap_err().code
}

#[test]
fn a_value_knows_where_it_stands_and_how_it_was_written() {
    let document = parse("a: 'x'\nb:\n  - 08:30\n  - !!com.acme.Job {c: d}\n").unwrap();
    let root = document.root.unwrap();
    let a = root.get("a").unwrap();
    assert_eq!((a.position.line, a.position.column), (1, 4));
    assert_eq!(a.scalar().unwrap(), &Scalar { text: "x".to_owned(), plain: false });
    let Content::List(list) = &root.get("b").unwrap().content else { panic!() };
    assert_eq!(list[0].scalar().unwrap().text, "08:30");
    assert_eq!(list[1].tag.as_deref(), Some("!!com.acme.Job"));
    assert_eq!(&document.text[list[1].range.clone()], "{c: d}");
}

#[test]
fn aliases_and_merge_keys_are_expanded() {
    let root = parse("x: &d {a: 1, b: 2}\ny:\n  <<: *d\n  a: 3\nz: [*d]\n").unwrap().root.unwrap();
    let y = root.get("y").unwrap();
    assert_eq!(y.get("a").unwrap().scalar().unwrap().text, "3");
    assert_eq!(y.get("b").unwrap().scalar().unwrap().text, "2");
    assert_eq!(flow(root.get("z").unwrap()), "[{a: 1, b: 2}]");
}

#[test]
fn the_end_of_the_content_is_known() {
    for text in ["a: b\n", "a: b\n...\n", "---\na: b\n# end\n"] {
        let document = parse(text).unwrap();
        assert!(document.text[..document.end].contains("a: b"), "{text:?} {}", document.end);
        assert!(!document.text[..document.end].contains("..."), "{text:?} {}", document.end);
    }
}

#[test]
fn too_much_is_refused_in_time() {
    let bomb: String = (0..30)
        .map(|i| match i {
            0 => "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned(),
            _ => format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(", ")),
        })
        .collect();
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), vec!["*a"; 100_000].join(","));
    let anchors: String =
        (0..60).map(|i| format!("&n{i} [")).collect::<String>() + &"x,".repeat(400_000);
    let indented: String = (0..600).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
    for (name, text) in [
        ("alias bomb", bomb),
        ("long text behind aliases", long),
        ("nested anchors", anchors),
        ("self alias", "a: &a [*a]\n".to_owned()),
        ("brackets", "[".repeat(10_000)),
        ("indented", indented),
        ("braces", "{a: ".repeat(10_000)),
        ("too long", "x".repeat(MAX_BYTES + 1)),
        ("values", "- a\n".repeat(MAX_BYTES / 4)),
    ] {
        let start = cpu_time();
        assert_eq!(code(&text), Code::ConfigLimit, "{name}");
        // Twenty times the goal: test builds leave the parser unoptimised.
        let spent = cpu_time() - start;
        assert!(spent < 2000, "{name}: {spent} ms");
    }
}

#[test]
fn bytes_that_are_no_text_are_refused_with_their_place() {
    assert_eq!(text_of("\u{feff}a: b".as_bytes()), Ok("a: b"));
    let utf16 = text_of(b"\xff\xfea\0").unwrap_err();
    assert_eq!((utf16.code, utf16.message.as_str()), (Code::ConfigRead, "not UTF-8 at byte 0"));
    assert_eq!(text_of(&[b'x'; MAX_BYTES + 1]).unwrap_err().code, Code::ConfigLimit);
}

#[test]
fn what_is_no_yaml_is_refused_with_its_place() {
    for text in ["a: [b", "a: 'b", "a: b: c", "--- a\n--- b\n", "a: *nobody"] {
        let Err(problem) = parse(text) else { panic!("{text:?} was taken") };
        assert_eq!(problem.code, Code::ConfigSyntax, "{text:?}");
        assert!(problem.position.is_some(), "{text:?}");
    }
}
