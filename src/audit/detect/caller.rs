//! Who asks: the same for most lines, so it is worked out once for each that differs.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};

use ipnet::IpNet;

use super::fact::cut;
use super::look::{Actor, Look, actor};
use crate::audit::event::{User, trusted};
use crate::audit::format::kubernetes::asking;
use crate::audit::quick::mix;

/// A text and its hash.
pub(super) type Hashed = (u64, Box<str>);

/// An identity with its credential, from one address, with one agent.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// Which session: the smaller ones, those of a credential, are kept before the others.
    pub session: u64,
    pub credential: Option<Box<str>>,
    /// Cut; the actor is told by the whole.
    pub user: Box<str>,
    pub actor: Actor,
    /// Name and UID of the pod that the token is bound to.
    pub pod: Option<(Box<str>, Box<str>)>,
    pub node: Option<Box<str>>,
    pub address: Hashed,
    pub agent: Hashed,
    pub acted_as: Option<Hashed>,
    /// Where its session was found last.
    pub slot: usize,
}

impl Caller {
    pub fn of(hasher: &RandomState, look: &Look) -> Caller {
        let event = look.event;
        Caller::new(hasher, look.actor, &event.user, event.impersonated.as_ref(), look.address, &event.user_agent)
    }

    fn new(
        hasher: &RandomState,
        actor: Actor,
        user: &User,
        impersonated: Option<&User>,
        address: Option<&str>,
        agent: &str,
    ) -> Caller {
        let address = address.unwrap_or("unknown");
        let (credential, pod) = (user.credential_id(), user.pod());
        let session = match credential {
            Some(id) => hasher.hash_one((id, &user.username)) >> 1,
            None => hasher.hash_one((&user.username, pod.map_or("", |(_, uid)| uid), address)) >> 1 | 1 << 63,
        };
        let hashed = |text: &str| (hasher.hash_one(text), cut(text).into());
        Caller {
            session,
            credential: credential.map(|c| cut(c).into()),
            user: cut(&user.username).into(),
            actor,
            pod: pod.map(|(name, uid)| (cut(name).into(), cut(uid).into())),
            node: user.node().map(|(name, _)| cut(name).into()),
            address: hashed(address),
            agent: hashed(agent),
            acted_as: impersonated.map(|other| hashed(&other.username)),
            slot: usize::MAX,
        }
    }

    /// Whether the line names the credential, or the pod it is bound to.
    pub fn named(&self) -> bool {
        self.credential.is_some() || self.pod.is_some()
    }

    fn read(hasher: &RandomState, proxies: &[IpNet], text: &str) -> Option<Caller> {
        let whole = format!("{{{text}}}");
        let asking = asking(&whole)?;
        let ips: &[Cow<'_, str>] = &asking.source_ips;
        // By a name that is cut, it could not be told who a kubelet is.
        if asking.user.username.len() > cut(&asking.user.username).len() {
            return None;
        }
        Some(Caller::new(
            hasher,
            actor(&asking.user),
            &asking.user,
            asking.impersonated.as_ref(),
            trusted(ips, proxies),
            &asking.user_agent,
        ))
    }
}

/// Places in the table; a power of two.
const PLACES: usize = 4096;
/// Bytes of a text that is remembered; longer ones are read each time.
const LONGEST: usize = 2048;

/// A caller, and the text that told of them.
type Known = (Box<str>, Caller);

/// Callers by the text that told of them. Who writes into the log can crowd it, and gains that it is read anew.
#[derive(Debug, Default)]
pub(super) struct Callers {
    places: Vec<Option<Box<Known>>>,
    spare: Option<Caller>,
}

impl Callers {
    /// The caller of which the line says this; None if the text is not the API server's own.
    pub fn of(&mut self, hasher: &RandomState, proxies: &[IpNet], text: &str) -> Option<&mut Caller> {
        if self.places.is_empty() {
            self.places.resize_with(PLACES, || None);
        }
        let hash = mix(text.as_bytes());
        let place = |n: u32| (hash >> (n * 16 + 32)) as usize % PLACES;
        let [one, other] = [place(0), place(1)];
        let is = |at: usize| self.places[at].as_ref().is_some_and(|kept| *kept.0 == *text);
        let at = if is(one) {
            one
        } else if is(other) {
            other
        } else {
            let caller = Caller::read(hasher, proxies, text)?;
            if text.len() > LONGEST {
                return Some(self.spare.insert(caller));
            }
            let at = if self.places[one].is_none() || hash & 1 == 0 { one } else { other };
            self.places[at] = Some(Box::new((text.into(), caller)));
            at
        };
        self.places[at].as_mut().map(|kept| &mut kept.1)
    }
}
