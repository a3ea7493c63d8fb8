//! Layers: archives that functions have at `/opt` besides their own code. A published version never changes. A function keeps the
//! content of those that it was given, so that a version may be deleted while functions have it.
//!
//! Compatible runtimes and architectures are what lists are filtered by; the service holds no function to them, and neither does
//! this.

mod foreign;
mod list;
mod named;
mod permissions;
mod uses;
mod version;

pub use foreign::{Mapped, map_layer, mapped_layers};
pub use list::{list, versions};
pub use permissions::{add_permission, policy, remove_permission};
pub use uses::{check, fits, of_function, still};
pub use version::{by_arn, delete, get, publish};
