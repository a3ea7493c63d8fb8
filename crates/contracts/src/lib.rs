//! Ways of talking to an instance: one folder per contract, each behind `model::ports::Contract`. A contract knows bytes and
//! an instance's inner addresses; it never opens a socket of the host, so that the same code serves an instance that is a
//! namespace, a container or a virtual machine.

pub mod lambda;

use model::ports::Contract;
use std::sync::Arc;

/// Every contract of this build.
pub fn all() -> Vec<Arc<dyn Contract>> {
    vec![Arc::new(lambda::Lambda::default())]
}
