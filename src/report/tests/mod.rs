//! Tests of what runs look like, with made-up events.

mod again;
mod hostile;
mod jobs;
mod live;
mod names;
mod plain;
mod said;
mod sample;
mod servers;
mod slow;
mod still;
mod terminal;
