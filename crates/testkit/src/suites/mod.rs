//! What every implementation of a port must do, whoever keeps its state.

pub mod queue;
