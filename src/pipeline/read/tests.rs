//! The quick way of reading against the thorough one.

use proptest::prelude::*;

use super::*;

const FILES: [&str; 3] = [
    include_str!("../../../pipelines/weather.toml"),
    include_str!("../../../pipelines/penguins.toml"),
    include_str!("../../cli/init.toml"),
];

#[track_caller]
fn same(text: &str) {
    let shown = |(file, problems): (Option<RawFile>, Problems)| format!("{file:?}\n{problems:?}");
    assert_eq!(shown(read(text)), shown(thoroughly(text)), "{text}");
}

#[test]
fn the_quick_way_reads_what_the_thorough_one_reads() {
    for text in FILES {
        assert!(quickly(text).is_some());
        same(text);
    }
    for text in [
        "",
        "x = 1",
        "[dataset.a]\npath = \"a\"",
        "dataset = { b = {} }\n[dataset.a]\npath = \"a\"",
        "[pipeline]\nformat = 1\nname = \"p\"\n[dataset.a]\npath = 'a'\n[dataset.a.env]\nX = \"1\"",
        "[pipeline]\nformat = 1\nname = \"p\"\n[dataset.a]\npath = 'a'\n[dataset.a]\npath = 'b'",
        "[pipeline]\nformat = 1\nname = \"p\"\n[[dataset]]\n[dataset.a]\npath = 'a'",
        "[pipeline]\r\nformat = 1\r\nname = \"p\"\r\n[dataset.a] # x\r\nrun = [\r\n'a', # y\r\n 'b',]\r\n\r\n# end",
        "[pipeline]\nformat = 1\nname = \"p\"\n[dataset.a]\ninputs = ['a' 'b']",
        "[pipeline]\nformat = 1\nname = \"p\"\n[dataset.a]\ninputs = ['a',,]",
        "[pipeline]\nformat = 1\nname = \"p\"\n[dataset.a]\npath = \"\\q\"",
        "[pipeline]\nformat = 1\nname = \"p\"\n[dataset.a]\npath = \"a\" path = \"b\"",
        "[pipeline]\nformat = 1\nname = \"p\"\n[dataset.a]\ntags = []\ntags = []",
        "[pipeline]\nformat = 1\nname = \"p\"\n[dataset.a]\n# \u{1}\npath = 'a'\n[folder.a]\n",
        "[pipeline]\nformat = 1\nname = \"p\"\n[dataset.a] path = 'a'",
        "[pipeline]\r\nformat = 1\r\nname = \"p\"\r\n[dataset.a]\r\nrun = \"\"\"\r\na\r\nb\"\"\"\r\npath = 'a'\r\n",
        "[pipeline]\nformat = 1\nname = \"p\"\n[dataset.a]\nrun = \'\'\'a\r\nb\'\'\'\npath = 'a'\n",
        "[pipeline]\nformat = 1\nname = \"p\"\n[dataset.é]\npath = 'a'",
    ] {
        same(text);
    }
}

proptest! {
    #[test]
    fn the_quick_way_makes_the_same_of_broken_files(
        which in 0..FILES.len(), at in any::<prop::sample::Index>(), length in 0_usize..40, new in "[\\[\\]\"'=#.,a{}\n \r]{0,4}",
    ) {
        let text = FILES[which];
        let mut begin = at.index(text.len());
        let mut end = (begin + length).min(text.len());
        while !text.is_char_boundary(begin) { begin -= 1; }
        while !text.is_char_boundary(end) { end += 1; }
        same(&[&text[..begin], &new, &text[end..]].concat());
    }
}
