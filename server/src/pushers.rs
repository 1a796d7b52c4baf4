//! Tells push gateways that there is something to read, so that a phone rings: which event, where, and how much is unread.
//! Never what it says, nor who says it.
//!
//! What is to be pushed stands in the store, written by the same commit as the event (`push::PUSHES`). Any server may send
//! it: who sends to a pusher has claimed it by a commit, for so long as one turn takes. Who dies in between leaves a claim
//! that lapses, and another server begins anew after what was noted as sent: a push may come twice, and is never lost.
//!
//! [Push gateway API](https://spec.matrix.org/v1.18/push-gateway-api/)

mod badge;
mod claim;
mod gateway;
mod send;
mod set;

pub use self::{
    send::run,
    set::{MAX_PUSHERS, router},
};
