//! AWS Lambda's Runtime API, version 2018-06-01: the runtime inside the instance asks for the next event, the platform
//! answers when there is one, and the runtime posts the result. Facts are taken from Amazon's runtime interface emulator
//! (`internal/lambda/rapi`) and from the service's developer guide, "Using the Lambda runtime API".
//!
//! The same listener carries the Extensions API (version 2020-01-01), and two things more: a runtime of our own that waits without code for the unit that it will serve
//! (`/myna/bind`), and everything that isn't the contract's own, which is the function calling the platform.

mod answer;
mod bindable;
mod extensions;
pub mod log_frames;
mod next;
mod plan;
mod reply;
mod routes;
mod server;
mod session;
mod short;
mod state;
mod telemetry;

#[cfg(any(test, feature = "double"))]
#[allow(clippy::unwrap_used, clippy::missing_panics_doc)]
#[doc(hidden)]
pub mod double;
#[cfg(test)]
mod tests;

pub use bindable::can_bind;
pub use plan::RESERVED;
pub use routes::ROUTES;

use model::{
    Fault, Fut, Unit,
    ports::{Contract, Host, InstanceFacts, Link, Opening, Runtime, StartPlan},
};
use std::sync::Arc;

/// The contract, at one port of the instance's loopback.
#[derive(Clone, Debug)]
pub struct Lambda {
    port: u16,
}

/// Where runtimes are told to look, unless a test chose another port.
pub const PORT: u16 = 9001;

impl Default for Lambda {
    fn default() -> Self {
        Self::at(PORT)
    }
}

impl Lambda {
    pub fn at(port: u16) -> Self {
        Self { port }
    }
}

impl Contract for Lambda {
    fn name(&self) -> &'static str {
        "lambda"
    }

    fn plan(&self, runtime: &Runtime, unit: Option<&Unit>, about: &InstanceFacts) -> Result<StartPlan, Fault> {
        plan::plan(self.port, runtime, unit, about)
    }

    fn bindable(&self, unit: &Unit) -> Result<(), String> {
        can_bind(unit)
    }

    fn open(&self, access: Arc<dyn Link>, unit: Option<Arc<Unit>>, host: Arc<dyn Host>) -> Fut<'_, Result<Opening, Fault>> {
        Box::pin(session::open(self.port, access, unit, host))
    }
}
