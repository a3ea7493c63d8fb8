//! The wall for a function's own memory, where the kernel's can't stand.
//!
//! `/tmp` is a tmpfs: the kernel charges it to whoever writes it, and counts it as memory. A function of 128 MiB with 512 MiB of
//! `/tmp` may use both, so its group's limit is the sum, which bounds what the host can lose. What is *not* in `/tmp` must still
//! end at the memory size: this thread looks at running instances and kills what is past it, as the kernel would have. Cached
//! files don't count, since the kernel would have dropped them first.

use crate::{instance::Shared, talk::Ask};
use model::{Loops, Pulse};
use std::{
    sync::{Arc, Condvar, Mutex, PoisonError, Weak, atomic::Ordering},
    time::Duration,
};

/// A function that allocates a gigabyte a second gets this much time past its limit, and never past the sum.
const EVERY: Duration = Duration::from_millis(50);

/// For those who ask what is weaker here than it should be.
pub const WEAKER: &str = "memory: /tmp lives in memory, so the kernel ends a function only at memory and /tmp together; \
                          memory alone is looked at every 50 ms (a /tmp on disk would mend it)";

#[derive(Default)]
pub struct Watch {
    instances: Mutex<Vec<Weak<Shared>>>,
    some: Condvar,
}

impl Watch {
    pub fn start(loops: &Arc<Loops>) -> std::io::Result<Arc<Watch>> {
        let watch = Arc::new(Watch::default());
        let (weak, loops) = (Arc::downgrade(&watch), loops.clone());
        let rounds = move |pulse: &Pulse| {
            while let Some(watch) = weak.upgrade() {
                watch.round(pulse);
                pulse.rest();
                drop(watch);
                std::thread::sleep(EVERY);
            }
        };
        let work = move || loops.run("memory watch", &rounds);
        std::thread::Builder::new().name("memory-watch".into()).stack_size(128 * 1024).spawn(work)?;
        Ok(watch)
    }

    pub fn add(&self, instance: &Arc<Shared>) {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(instance));
        self.some.notify_one();
    }

    fn round(&self, pulse: &Pulse) {
        let mut instances = self.instances.lock().unwrap_or_else(PoisonError::into_inner);
        if instances.is_empty() {
            // Woken now and then, to notice that the platform has let go of everything.
            instances = self.some.wait_timeout(instances, Duration::from_secs(5)).unwrap_or_else(PoisonError::into_inner).0;
        }
        pulse.work();
        instances.retain(|i| i.strong_count() > 0);
        let all: Vec<_> = instances.iter().filter_map(Weak::upgrade).collect();
        drop(instances);
        all.iter().filter(|i| !i.frozen.load(Ordering::Relaxed)).for_each(|i| check(i));
    }
}

fn check(instance: &Shared) {
    let Some(group) = &instance.channel.group else { return };
    let limit = instance.limits().memory_bytes;
    let used = group.memory_bytes();
    if used <= limit || instance.channel.over_memory.load(Ordering::Relaxed) {
        return;
    }
    if used.saturating_sub(instance.tmp_bytes()).saturating_sub(group.cached_bytes()) > limit {
        // Set first, so that the ends that follow are told for what they are.
        instance.channel.over_memory.store(true, Ordering::SeqCst);
        instance.channel.tell(Ask::KillAll);
    }
}
