//! Lambda's limits (Developer guide, "Lambda quotas"), each in one place with its unit in its name.

use std::time::Duration;

pub const REQUEST_BYTES_MAX: usize = 6_291_456;
/// Of an asynchronous invocation.
pub const EVENT_BYTES_MAX: usize = 1024 * 1024;
/// Amazon's runtime interface emulator: `6*1024*1024 + 100`.
pub const REPLY_BYTES_MAX: usize = 6_291_556;
pub const STREAM_BYTES_MAX: u64 = 200 * 1024 * 1024;
pub const ZIP_BYTES_MAX: usize = 52_428_800;
pub const UNZIPPED_BYTES_MAX: u64 = 262_144_000;
pub const LAYERS_PER_FUNCTION_MAX: usize = 5;
/// Layer versions of one account (ours), and what stands for layers of other accounts.
pub const LAYER_VERSIONS_MAX: usize = 10_000;
pub const ENV_BYTES_MAX: usize = 4 * 1024;
pub const CLIENT_CONTEXT_BYTES_MAX: usize = 3583;
pub const POLICY_BYTES_MAX: usize = 20 * 1024;
pub const TAGS_MAX: usize = 50;
pub const INIT_TIMEOUT: Duration = Duration::from_secs(10);
/// Of an account's concurrency, this much can't be reserved by functions.
pub const UNRESERVED_MIN: u32 = 100;

pub const TIMEOUT_S_DEFAULT: u32 = 3;
pub const TIMEOUT_S_MAX: u32 = 900;
pub const MEMORY_MIB_DEFAULT: u32 = 128;
pub const MEMORY_MIB_MAX: u32 = 10_240;
pub const TMP_MIB_DEFAULT: u32 = 512;
pub const TMP_MIB_MAX: u32 = 10_240;

/// How long an invocation waits for a function that is still being created.
pub const PENDING_WAIT: Duration = Duration::from_secs(10);
/// Versions of one function (ours; Lambda bounds them by code storage).
pub const VERSIONS_MAX: usize = 10_000;
/// Event source mappings of one account (ours), and filters of one mapping (Lambda Developer guide, "Event filtering").
pub const SOURCES_MAX: usize = 10_000;
pub const FILTERS_MAX: usize = 10;
/// Code signing configurations of one account (Lambda Developer guide, "Code signing quotas": 100).
pub const CODE_SIGNING_CONFIGS_MAX: usize = 100;
/// How much of a stream a metadata prelude may take (API Gateway, "response transfer mode").
pub const PRELUDE_BYTES_MAX: usize = 16 * 1024;
