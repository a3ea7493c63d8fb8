//! Outside systems as Myna speaks them: a folder per system, each a translation between that system's bytes and the model.
//! A dialect asks one port, [`model::ports::Platform`]; it knows no socket, no sandbox and no database.

pub mod aws;

use model::ports::{Dialect, PlatformSettings};
use std::sync::Arc;

/// Makes a dialect for a platform with these settings.
pub type Make = fn(&PlatformSettings) -> Arc<dyn Dialect>;

/// Every dialect, by the name of its folder, which is also the name of its door.
pub const ALL: &[(&str, Make)] = &[(aws::NAME, |settings| Arc::new(aws::Aws::new(settings.clone())))];
