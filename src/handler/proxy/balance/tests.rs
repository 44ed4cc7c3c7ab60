//! What the balancer does.
