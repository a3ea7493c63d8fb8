//! The platform's own process, by the names that every Prometheus client library gives them. What the kernel doesn't tell is left
//! out.

use super::text::Page;
use rustix::{
    fs::statvfs,
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};
use std::{fs, path::Path};

pub fn write(page: &mut Page, started_ms: u64) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses may hold anything; fields are counted behind it, from the third on.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or(Vec::new(), |(_, rest)| rest.split_whitespace().collect());
    let field = |number: usize| fields.get(number - 3).and_then(|f| f.parse::<u64>().ok());
    if let (Some(user), Some(system)) = (field(14), field(15)) {
        let seconds = (user + system) as f64 / clock_ticks_per_second() as f64;
        page.counter("process_cpu_seconds_total", "Processor time of the platform's process, in user and kernel mode.")
            .add(&[], seconds);
    }
    if let Some(threads) = field(20) {
        page.gauge("process_threads", "Threads of the platform's process.").add(&[], threads);
    }
    if let Some(bytes) = field(23) {
        page.gauge("process_virtual_memory_bytes", "Address space of the platform's process.").add(&[], bytes);
    }
    if let Some(pages) = field(24) {
        page.gauge("process_resident_memory_bytes", "Memory of the platform's process.").add(&[], pages * page_size() as u64);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them is this look.
        page.gauge("process_open_fds", "Descriptors that are open.").add(&[], open.count().saturating_sub(1));
    }
    if let Some(limit) = getrlimit(Resource::Nofile).current {
        page.gauge("process_max_fds", "Descriptors that may be open.").add(&[], limit);
    }
    page.gauge("process_start_time_seconds", "When the platform was started, since the Unix epoch.")
        .add(&[], started_ms as f64 / 1000.0);
}

/// Free and all bytes of the disk that a folder is on, as its owner may use them.
pub fn disk(folder: &Path) -> Option<(u64, u64)> {
    let disk = statvfs(folder).ok()?;
    Some((disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize))
}
