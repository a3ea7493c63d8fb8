//! The limits that more than one crate needs or a user meets, with their units in their names. One that is a crate's own affair
//! (the length of a queue between two of its tasks) stands beside what it bounds, and a system's own with its dialect.

use std::time::Duration;

/// Bytes of a request's line and headers together.
pub const HEADER_BYTES_MAX: usize = 64 * 1024;
pub const HEADERS_MAX: usize = 128;
/// From accept to the end of the headers, the first byte included.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A body must move at least this often.
pub const BODY_IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// An idle keep-alive connection is closed after this.
pub const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(75);
pub const CONNECTIONS_MAX: usize = 10_000;

/// Calls waiting for a slot of one function.
pub const WAITING_PER_FUNCTION_MAX: usize = 10_000;
/// How long a call may wait for a slot before it is answered "exhausted", at least: as long as its function may take to
/// initialise and run when that is more, since that is when a slot may become free.
pub const WAIT_MAX: Duration = Duration::from_secs(60);
/// Descriptors that one instance needs on the host.
pub const DESCRIPTORS_PER_INSTANCE: u64 = 14;
/// Function calls function calls function …
pub const HOPS_MAX: u32 = 16;
/// An instance that has been idle this long is frozen.
pub const FREEZE_AFTER: Duration = Duration::from_millis(50);

/// One log line; longer ones are cut, with a marker.
pub const LOG_LINE_BYTES_MAX: usize = 256 * 1024;
/// What an instance may log per second before lines are dropped and counted, with a marker.
pub const LOG_BYTES_PER_SECOND_MAX: usize = 4 * 1024 * 1024;
/// The tail that a caller may ask to get with the answer.
pub const LOG_TAIL_BYTES: usize = 4 * 1024;

/// Readers that follow the logs of one tenant at the same time, whatever door they came through.
pub const TAILS_PER_TENANT_MAX: usize = 100;

/// A loop of the platform that panics more often than this within [`LOOP_PANICS_WITHIN`] ends the process.
pub const LOOP_PANICS_MAX: usize = 5;
pub const LOOP_PANICS_WITHIN: Duration = Duration::from_secs(600);
/// Before a loop that panicked is run again; twice as long each time.
pub const LOOP_PAUSE: Duration = Duration::from_millis(100);

/// A loop that has been in the middle of the same piece of work for so long stands still: it is named, and run again where that can be.
pub const LOOP_STILL_MAX: Duration = Duration::from_secs(20);
/// After so long the process ends, for whoever supervises it to start it afresh.
pub const LOOP_STILL_ENDS: Duration = Duration::from_secs(300);

/// Threads for what blocks: unpacking, reading logs, looking for runtimes. More of it waits.
pub const BLOCKING_THREADS_MAX: usize = 32;

/// Packages being downloaded at once, and how much of one is read at a time.
pub const DOWNLOADS_MAX: usize = 64;
pub const DOWNLOAD_PIECE_BYTES: usize = 256 * 1024;

/// A secret's name, and its value. The longest string that the kernel takes for a variable is twice that.
pub const SECRET_NAME_BYTES_MAX: usize = 256;
pub const SECRET_BYTES_MAX: usize = 64 * 1024;
/// The values of all secrets that one version of a function names. A process gets its variables in one message to the spawner.
pub const SECRETS_PER_FUNCTION_BYTES_MAX: usize = 128 * 1024;
pub const SECRETS_PER_TENANT_MAX: usize = 10_000;

/// Nesting of a JSON document on a control plane.
pub const JSON_DEPTH_MAX: usize = 64;
