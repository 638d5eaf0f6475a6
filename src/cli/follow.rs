//! `kiln jobs log`: what steps of a run printed, and what is added to it while it goes on. Does not know which run is asked for.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

use crate::base::job::JobState;
use crate::base::text::did_you_mean;
use crate::cli::candidates::recipes;
use crate::cli::jobs::{History, LOOK_EVERY};
use crate::cli::step_log::silent;
use crate::cli::tame::Tame;
use crate::cli::{Context, note, print, unprinted};
use crate::event::Stamped;
use crate::exit;
use crate::session::fail::Fail;
use crate::session::unread;
use crate::store::read::{Reader, RunRow};
use crate::view::{RunView, StepState};

impl History {
    /// Prints the logs of a run, or that of one of its steps.
    pub(super) fn log(
        &self,
        context: &Context,
        (id, step): (&str, Option<&str>),
        tail: Option<usize>,
        follow: bool,
        tame: Option<Tame>,
    ) -> Result<u8, Fail> {
        let (reader, row) = self.find(id)?;
        let maker: Option<String>;
        let mut follower = Follower {
            history: self,
            reader,
            row,
            step,
            tail,
            view: RunView::default(),
            next: 0,
            shown: HashMap::new(),
            done: HashSet::new(),
            last: None,
            within: false,
            printed: false,
            unread: false,
            first: true,
            tame,
        };
        follower.read()?;
        if follow {
            follower.follow(|follower| {
                !matches!(follower.view.state(), JobState::Queued) && follower.view.head.is_some()
            })?;
        }
        if let Some(step) = step {
            maker = follower.view.maker(step).map(str::to_owned);
            follower.step = maker.as_deref().or(Some(step));
            follower.known(context, maker.as_deref().unwrap_or(step))?;
        }
        follower.print()?;
        follower.first = false;
        if follow {
            follower.follow(|_| false)?;
        }
        print(follower.tame.as_mut().map(Tame::end).unwrap_or_default())?;
        if !follower.printed {
            note(&match follower.step {
                Some(step) => follower.silent(step),
                None => "no step has printed anything".to_owned(),
            });
        }
        Ok(exit::OK)
    }
}

/// Prints the logs of a run, as far as they are there, and what is added to them.
struct Follower<'a> {
    history: &'a History,
    reader: &'a Reader,
    row: RunRow,
    step: Option<&'a str>,
    /// How many lines of what is there when it begins.
    tail: Option<usize>,
    view: RunView,
    next: u64,
    /// How many bytes of each log were printed.
    shown: HashMap<String, u64>,
    /// The steps of which all is printed.
    done: HashSet<String>,
    /// The log that was printed last.
    last: Option<String>,
    /// Whether that stands within a line.
    within: bool,
    /// Whether any step has printed anything, and whether nobody reads any more what is shown of it.
    printed: bool,
    unread: bool,
    /// Whether it prints what was there when it began.
    first: bool,
    /// For a terminal: leaves out what would steer it.
    tame: Option<Tame>,
}

/// Where the last lines of a file begin.
fn last_lines(file: &mut File, lines: usize) -> std::io::Result<u64> {
    let mut at = file.seek(SeekFrom::End(0))?;
    let mut wanted = lines.saturating_add(1); // the end of the line before them, too
    let mut end = true;
    while at > 0 {
        let size = at.min(64 << 10);
        at -= size;
        let mut buffer = vec![0; usize::try_from(size).unwrap_or_default()];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut buffer)?;
        for (i, byte) in buffer.iter().enumerate().rev() {
            // A last line without an end is one as well.
            wanted -= usize::from(end && *byte != b'\n');
            end = false;
            wanted -= usize::from(*byte == b'\n');
            if wanted == 0 {
                return Ok(at + i as u64 + 1);
            }
        }
    }
    Ok(0)
}

impl Follower<'_> {
    fn read(&mut self) -> Result<(), Fail> {
        let events: Vec<Stamped> = self.reader.events(&self.row.id, self.next).map_err(unread)?;
        for event in &events {
            self.next = event.seq + 1;
            self.view.apply(event);
        }
        Ok(())
    }

    fn known(&self, context: &Context, step: &str) -> Result<(), Fail> {
        if self.view.step(step).is_some() {
            return Ok(());
        }
        let names = recipes(context);
        let here = self.view.steps.iter().map(|step| step.plan.id.as_str());
        let others = names.iter().map(String::as_str).filter(|name| *name != step);
        let help = did_you_mean(step, here.chain(others));
        let help = match self.history.ran(step)? {
            Some(run) => Some(format!("{run} is the last run that built it: `kiln jobs log {step}`")),
            None => help.or_else(|| Some(format!("`kiln jobs show {}` shows its steps", self.row.id))),
        };
        Err(Fail::Usage(format!("{} has no step `{step}` that was built", self.row.id), help))
    }

    /// Why nothing of a step was printed.
    fn silent(&mut self, step: &str) -> String {
        self.row.end(&mut self.view);
        self.view.step(step).map(|step| silent(&self.view, step)).unwrap_or_default()
    }

    fn print(&mut self) -> Result<(), Fail> {
        for i in 0..self.view.steps.len() {
            let step = &self.view.steps[i];
            let wanted = self.step.is_none_or(|wanted| wanted == step.plan.id);
            if step.log.is_empty() || !wanted || self.done.contains(&step.plan.id) {
                continue;
            }
            let (id, over) = (step.plan.id.clone(), step.state.is_over());
            let mut logs: Vec<_> = step.earlier.iter().map(|earlier| (earlier.attempt, earlier.log.clone())).collect();
            if step.state != StepState::Retrying {
                logs.push((step.attempt, step.log.clone()));
            }
            let several = logs.len() > 1;
            for (attempt, log) in logs {
                let heading = match several {
                    true => format!("== {id}, attempt {attempt} ==\n"),
                    false if self.step.is_none() => format!("== {id} ==\n"),
                    false => String::new(),
                };
                self.copy(&heading, log)?;
            }
            if over {
                self.done.insert(id);
            }
        }
        Ok(())
    }

    /// Prints what a log has more than before.
    fn copy(&mut self, heading: &str, log: String) -> Result<(), Fail> {
        let path = self.history.state().join(&log);
        let cannot = |error: std::io::Error| Fail::Surroundings(format!("{}: {error}", path.display()));
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            opened => opened.map_err(cannot)?,
        };
        let begin = match self.tail {
            Some(lines) if !self.shown.contains_key(&log) && self.first => {
                last_lines(&mut file, lines).map_err(cannot)?
            }
            Some(_) | None => 0,
        };
        self.printed |= begin > 0;
        let mut shown = *self.shown.entry(log.clone()).or_insert(begin);
        file.seek(SeekFrom::Start(shown)).map_err(cannot)?;
        let mut buffer = vec![0; 64 << 10];
        let mut out = std::io::stdout().lock();
        loop {
            let n = file.read(&mut buffer).map_err(cannot)?;
            if n == 0 {
                return Ok(());
            }
            shown += n as u64;
            self.shown.insert(log.clone(), shown);
            self.printed = true;
            let mut text = if self.last.as_ref() == Some(&log) { Vec::new() } else { self.turn(heading) };
            self.last = Some(log.clone());
            match &mut self.tame {
                Some(tame) => text.extend(tame.tame(&buffer[..n])),
                None => text.extend_from_slice(&buffer[..n]),
            }
            self.within = buffer[n - 1] != b'\n';
            match out.write_all(&text).and_then(|()| out.flush()) {
                Ok(()) => {}
                // Whoever reads has seen enough.
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                    self.unread = true;
                    return Ok(());
                }
                Err(error) => return Err(unprinted(&error)),
            }
        }
    }

    /// What stands before another log.
    fn turn(&mut self, heading: &str) -> Vec<u8> {
        let mut text = self.tame.as_mut().map(Tame::end).unwrap_or_default().as_bytes().to_vec();
        if self.within && !heading.is_empty() {
            text.push(b'\n');
        }
        text.extend_from_slice(heading.as_bytes());
        text
    }

    /// Prints what is added, until the run has ended or `enough` says so.
    fn follow(&mut self, enough: impl Fn(&Self) -> bool) -> Result<(), Fail> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Fail::because("the run cannot be followed", &error))?;
        while !self.over() && !enough(self) {
            // Within the runtime: a sleep that is made outside of one panics.
            runtime.block_on(async { tokio::time::sleep(LOOK_EVERY).await });
            let (_, now) = self.history.find(self.row.id.as_str())?;
            self.read()?;
            self.print()?;
            if now.state.is_over() {
                break;
            }
        }
        Ok(())
    }

    fn over(&self) -> bool {
        let step = self.step.and_then(|step| self.view.step(step));
        self.view.end.is_some() || step.is_some_and(|step| step.state.is_over()) || self.unread
    }
}
