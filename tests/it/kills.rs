//! The program is killed at random instants, again and again, in the midst of real work. `KILN_KILLS` says how often,
//! `KILN_SEED` from which seed; a failure is repeated as far as time can be with the seed that is printed.

use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use crate::checker::{after_all, after_death, change, project};

/// So many kills are a part of the tests.
const KILLS: u32 = 40;
/// The longest time from an event to a kill, in microseconds.
const LATER: u64 = 4_000;
/// A run of the project has so many events.
const EVENTS: u64 = 20;
/// After so many kills the version that is built changes.
const EACH_VERSION: u32 = 3;

/// Numbers by chance: xorshift.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn death_at_any_time() {
    let kills = number("KILN_KILLS").map_or(KILLS, |kills| u32::try_from(kills).unwrap());
    let seed = number("KILN_SEED").unwrap_or_else(|| u64::from(std::process::id()) << 20 | 1);
    println!("KILN_SEED={seed} KILN_KILLS={kills}");
    let mut chance = Chance(seed);
    let project = project();
    let mut version = 1;
    change(&project, version);
    let mut died = 0;
    for kill in 1..=kills {
        let mut child = project.start(&["run", "-j2", "--events", "-"]);
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut shown = String::new();
        for _ in 0..chance.below(EVENTS) {
            out.read_line(&mut shown).unwrap();
        }
        std::thread::sleep(Duration::from_micros(chance.below(LATER)));
        child.kill().unwrap();
        out.read_to_string(&mut shown).unwrap();
        died += u32::from(child.wait().unwrap().code().is_none());
        after_death(&project, &shown);
        if kill % EACH_VERSION == 0 || kill == kills {
            project.expect(0, &["run", "-j2"]);
            after_all(&project);
            version += 1;
            change(&project, version);
        }
    }
    println!("{died} of {kills} runs were killed before their end");
    assert!(died > kills / 5, "many runs are to die");
}
