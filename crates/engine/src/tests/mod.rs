//! The engine over doubles, in simulated time: the test is the runtime of every instance and answers each event by hand.

mod calls;
mod events;
mod failures;
mod leaving;
mod machine;
mod rig;
mod runtime;
mod starts;
