//! What the actions against an identity share: the identity itself, the bindings that name it, and what it may do.

pub(super) mod binding;
pub(super) mod foothold;
pub(super) mod identity;
pub(super) mod may;

pub(super) use identity::Identity;
