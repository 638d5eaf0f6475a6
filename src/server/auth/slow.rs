//! Slows those down who show wrong keys: the answer to each comes later than the one before, and only so many wait for one.

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
/// So many wrong keys of one address are answered at a time; more are turned away.
const AT_ONCE: u32 = 16;
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
    last: Instant,
}

impl Slow {
    /// Waits as long as a wrong key from this address takes now. Returns whether it may be answered.
    pub(crate) async fn wrong(&self, peer: IpAddr) -> bool {
        let Some(wait) = self.begin(peer, Instant::now()) else { return false };
        tokio::time::sleep(wait).await;
        if let Some(peer) = self.lock().get_mut(&peer) {
            peer.waiting = peer.waiting.saturating_sub(1);
        }
        true
    }

    fn begin(&self, peer: IpAddr, now: Instant) -> Option<Duration> {
        let mut peers = self.lock();
        if peers.len() >= ADDRESSES {
            peers.retain(|_, peer| peer.waiting > 0 || now.duration_since(peer.last) < FORGET);
        }
        let peer = peers.entry(peer).or_insert(Peer { wrong: 0, waiting: 0, last: now });
        if peer.waiting >= AT_ONCE {
            return None;
        }
        if peer.waiting == 0 && now.duration_since(peer.last) >= FORGET {
            peer.wrong = 0;
        }
        let wait = FIRST.saturating_mul(1 << peer.wrong.min(16)).min(LONGEST);
        peer.wrong += 1;
        peer.waiting += 1;
        peer.last = now;
        Some(wait)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, Peer>> {
        self.peers.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    async fn too_many_at_once_are_turned_away() {
        let slow = Slow::default();
        let peer: IpAddr = "127.0.0.1".parse().unwrap();
        let all = futures::future::join_all((0..20).map(|_| slow.wrong(peer))).await;
        assert_eq!(all.iter().filter(|answered| **answered).count(), 16);
        assert!(slow.wrong(peer).await);
    }
}
