//! Slows those down who show wrong keys: those of one address are answered one after another, each later than the one before,
//! and only so many wait for an answer.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// How long the first wrong key takes; each further one takes twice as long as the one before.
const FIRST: Duration = Duration::from_millis(25);
/// No wrong key takes longer.
const LONGEST: Duration = Duration::from_secs(2);
/// After so long without a wrong key all is forgotten.
const FORGET: Duration = Duration::from_secs(60);
/// So many wrong keys of one address wait to be answered; more are turned away.
const AT_ONCE: u32 = 4;
/// So many addresses are remembered.
const ADDRESSES: usize = 10_000;

/// Who showed wrong keys.
#[derive(Debug, Default)]
pub(crate) struct Slow {
    peers: Mutex<HashMap<IpAddr, Peer>>,
}

#[derive(Debug)]
struct Peer {
    wrong: u32,
    waiting: u32,
    /// When the last of those that wait is answered.
    last: Instant,
}

impl Slow {
    /// Waits as long as a wrong key from this address takes now. Returns whether it may be answered.
    pub(crate) async fn wrong(&self, address: IpAddr) -> bool {
        let Some(until) = self.begin(address, Instant::now()) else { return false };
        let _waits = Waits { slow: self, address };
        tokio::time::sleep_until(until).await;
        true
    }

    fn begin(&self, address: IpAddr, now: Instant) -> Option<Instant> {
        let mut peers = self.lock();
        if peers.len() >= ADDRESSES && !peers.contains_key(&address) {
            peers.retain(|_, peer| peer.waiting > 0 || now.duration_since(peer.last) < FORGET);
            if peers.len() >= ADDRESSES {
                return None;
            }
        }
        let peer = peers.entry(address).or_insert(Peer { wrong: 0, waiting: 0, last: now });
        if peer.waiting >= AT_ONCE {
            return None;
        }
        if peer.waiting == 0 && now.duration_since(peer.last) >= FORGET {
            peer.wrong = 0;
        }
        let wait = FIRST.saturating_mul(1 << peer.wrong.min(16)).min(LONGEST);
        // Behind those that wait already: connections side by side are no faster than one. Behind those that have hung up nobody
        // waits.
        peer.last = peer.last.clamp(now, now + LONGEST * peer.waiting) + wait;
        peer.wrong = peer.wrong.saturating_add(1);
        peer.waiting += 1;
        Some(peer.last)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, Peer>> {
        self.peers.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Someone who waits, until he is answered or hangs up.
struct Waits<'a> {
    slow: &'a Slow,
    address: IpAddr,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        if let Some(peer) = self.slow.lock().get_mut(&self.address) {
            peer.waiting = peer.waiting.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_hangs_up_waits_no_more() {
        let slow = Slow::default();
        let peer: IpAddr = "127.0.0.1".parse().unwrap();
        for _ in 0..100 {
            let hangs_up = tokio::time::timeout(Duration::from_millis(1), slow.wrong(peer));
            assert!(hangs_up.await.is_err());
        }
        let begun = Instant::now();
        assert!(slow.wrong(peer).await);
        assert_eq!(begun.elapsed(), LONGEST);
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_addresses_are_remembered() {
        let slow = Slow::default();
        let address = |n: usize| IpAddr::from(u32::try_from(n).unwrap().to_be_bytes());
        let now = Instant::now();
        let begun = (0..ADDRESSES + 100).filter(|n| slow.begin(address(*n), now).is_some()).count();
        assert_eq!((begun, slow.lock().len()), (ADDRESSES, ADDRESSES));
        // One that is known is slowed down like ever.
        assert!(slow.begin(address(0), now).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn each_wrong_key_takes_longer() {
        let slow = Slow::default();
        let peer: IpAddr = "127.0.0.1".parse().unwrap();
        let mut took = Vec::new();
        for _ in 0..9 {
            let begun = Instant::now();
            assert!(slow.wrong(peer).await);
            took.push(begun.elapsed().as_millis());
        }
        assert_eq!(took, [25, 50, 100, 200, 400, 800, 1_600, 2_000, 2_000]);
        tokio::time::advance(FORGET).await;
        let begun = Instant::now();
        assert!(slow.wrong(peer).await);
        assert_eq!(begun.elapsed().as_millis(), 25);
    }

    #[tokio::test(start_paused = true)]
    async fn side_by_side_is_no_faster_and_too_many_are_turned_away() {
        let slow = Slow::default();
        let peer: IpAddr = "127.0.0.1".parse().unwrap();
        let other: IpAddr = "127.0.0.2".parse().unwrap();
        let begun = Instant::now();
        let one = || async { slow.wrong(peer).await.then(|| begun.elapsed().as_millis()) };
        let all = futures::future::join_all((0..20).map(|_| one())).await;
        let answered: Vec<_> = all.into_iter().flatten().collect();
        assert_eq!(answered, [25, 75, 175, 375]);
        let begun = Instant::now();
        assert!(slow.wrong(peer).await);
        assert_eq!(begun.elapsed().as_millis(), 400);
        // Nobody else waits for that.
        let begun = Instant::now();
        assert!(slow.wrong(other).await);
        assert_eq!(begun.elapsed().as_millis(), 25);
    }
}
