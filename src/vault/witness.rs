//! The witness: the heads of a vault that this host has seen, kept outside the vault.
//!
//! Invariants: the newest head that was seen must occur in the chain; a longer chain is an extension; the witness only
//! ever moves forward. It is locked while it changes, replaced atomically, and authenticated by the vault's key.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Finding;
use super::chain::Chain;
use super::sealed;
use crate::clock::Time;
use crate::crypto::{Domain, Id, Macs};
use crate::error::{Error, Result, shown_path};
use crate::format::record::Head;
use crate::fsys::{self, replace};
use crate::host::Host;
use crate::limits;
use crate::refusal::{Code, Refusal};

/// What a host remembers of a vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Witness {
    /// Heads that were seen, ascending by number; the last is the newest.
    pub heads: Vec<Head>,
    /// When this host first looked, where nothing vouches for what it saw then: an older copy would have looked the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_by_looking: Option<Time>,
    /// Heads that a branch left behind knowingly, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<Head>,
    /// When the newest was seen.
    pub seen: Time,
    /// The vault.
    pub vault: Id,
}

/// How a chain stands to what this host has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Freshness {
    /// The newest head that this host saw occurs in the chain.
    Proven,
    /// This host has not seen the vault before.
    Unproven,
    /// The newest head that this host saw occurs in the chain; but it began by looking, and nothing vouches for what it
    /// saw then.
    Looked {
        /// When it first looked.
        since: Time,
    },
    /// The chain lacks records that this host saw.
    Behind {
        /// How many at least.
        records: u64,
        /// The newest head that this host saw.
        seen: Head,
        /// The chain continues differently, instead of merely ending early.
        fork: bool,
    },
}

impl std::fmt::Display for Freshness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Proven => f.write_str("proven"),
            Self::Unproven | Self::Looked { .. } => f.write_str("unproven"),
            Self::Behind { records, .. } => write!(f, "behind {records}"),
        }
    }
}

impl Freshness {
    /// Returns the refusal that a chain behind the witness means for writing and for `latest`.
    pub fn refusal(&self, place: &str) -> Option<Refusal> {
        let Self::Behind { records, seen, fork } = self else { return None };
        let (code, message) = if *fork {
            (
                Code::Fork,
                format!("{place} continues differently from record {} on", seen.number.saturating_sub(records - 1)),
            )
        } else {
            (Code::Rollback, format!("{place} lacks the newest {records} record(s) that this host has seen"))
        };
        Some(
            Refusal::new(code, message)
                .cause(format!("this host last saw head {seen}, which does not occur in this copy of the vault")),
        )
    }
}

impl Freshness {
    /// Returns whether this host saw so many records that one of this number was among them, and some are missing now.
    pub fn lacks(&self, number: u64) -> bool {
        matches!(self, Self::Behind { seen, .. } if number <= seen.number)
    }

    /// Returns the finding that a chain behind the witness means for whoever only looks.
    pub fn finding(&self, place: &str) -> Option<Finding> {
        let refusal = self.refusal(place)?;
        let detail = format!("{}; {}", refusal.message, refusal.causes.join("; "));
        Some(Finding::new(refusal.code, "the chain", detail))
    }
}

/// Reads the witness of a vault; nothing where this host has none.
///
/// # Errors
/// DV315 where it is there but unreadable, damaged, not authentic or another vault's. An error of the environment where this
/// process can open nothing.
pub fn read(host: &Host, macs: &Macs) -> Result<Option<Witness>> {
    let path = host.witness_path(macs.vault());
    let bytes = match replace::read(&path, limits::STATE_BYTES_MAX) {
        Err(error) if fsys::lacks_means(&error) => return Err(Error::environment("read the witness", error)),
        read => read,
    };
    let witness = sealed::trust(bytes, macs, Domain::Witness)
        .and_then(|witness| witness.map(|found| check(found, macs)).transpose());
    witness.map_err(|reason| unreadable(&path, reason).into())
}

fn unreadable(path: &Path, reason: impl std::fmt::Display) -> Refusal {
    Refusal::new(Code::WitnessUnreadable, format!("the witness {} cannot be trusted", shown_path(path))).cause(reason)
}

fn check(witness: Witness, macs: &Macs) -> std::result::Result<Witness, String> {
    let ascending = witness.heads.windows(2).all(|pair| pair[0].number < pair[1].number);
    if witness.vault != macs.vault() || witness.heads.is_empty() || !ascending {
        return Err("it contradicts itself".into());
    }
    Ok(witness)
}

/// Returns how a chain stands to a witness.
pub fn freshness(witness: Option<&Witness>, chain: &Chain) -> Freshness {
    let Some(witness) = witness else { return Freshness::Unproven };
    let Some(&seen) = witness.heads.last() else { return Freshness::Unproven };
    // A branch record tells every host which head it left behind.
    let is_lost = || chain.is_unknown(seen.number) && witness.heads.iter().all(|head| chain.agrees_with(head));
    if chain.holds(&seen) || is_lost() || chain.branches().any(|branch| branch.from == seen) {
        return witness.began_by_looking.map_or(Freshness::Proven, |since| Freshness::Looked { since });
    }
    let shared = witness.heads.iter().rev().find(|head| chain.holds(head)).map_or_else(
        || witness.heads.first().map_or(0, |oldest| oldest.number.saturating_sub(1)).min(chain.head().number),
        |head| head.number,
    );
    Freshness::Behind {
        records: seen.number.saturating_sub(shared).max(1),
        seen,
        fork: chain.head().number > shared || chain.head().number >= seen.number,
    }
}

/// What a chain is known to be new by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// This host looked at it, or wrote to it: that vouches for nothing that was there before.
    Looking,
    /// This host made the vault.
    Making,
    /// The operator named a head that occurs in it.
    Naming,
}

impl By {
    /// Returns what vouches where the operator named this head, if any.
    pub fn of(expected: Option<&Head>) -> Self {
        if expected.is_some() { Self::Naming } else { Self::Looking }
    }
}

/// Remembers the heads of a chain that authenticated. Does nothing where the witness knows more already.
///
/// Where the operator named the head, a witness that cannot be trusted is set aside as evidence, under a name that says so,
/// and a new one is begun. A witness that looking began says so until the operator names a head.
///
/// # Errors
/// DV410 where the state directory cannot be written; DV315 where the witness there cannot be trusted.
pub fn advance(host: &Host, macs: &Macs, chain: &Chain, by: By, now: Time) -> Result<()> {
    let path = host.witness_path(macs.vault());
    let _lock = sealed::lock(host, &path)?;
    let known = match read(host, macs) {
        Err(_) if by == By::Naming => {
            set_aside(&path)?;
            None
        }
        other => other?,
    };
    if matches!(freshness(known.as_ref(), chain), Freshness::Behind { .. }) {
        return Ok(());
    }
    let head = chain.head();
    let looked = known.as_ref().map_or(Some(now), |witness| witness.began_by_looking).filter(|_| by == By::Looking);
    let same = |witness: &Witness| witness.heads.last() == Some(&head) && witness.began_by_looking == looked;
    if known.as_ref().is_some_and(same) {
        return Ok(());
    }
    let mut heads: Vec<Head> = chain.links().map(|(number, link)| Head { digest: link.digest, number }).collect();
    if heads.is_empty() {
        heads.push(head);
    }
    // The newest are kept: older ones only make "behind N" exact.
    heads.drain(..heads.len().saturating_sub(limits::WITNESS_HEADS_MAX));
    let mut left = known.as_ref().map(|witness| witness.left.clone()).unwrap_or_default();
    // What a branch abandons stays on record, as long as there is room.
    let seen = known.into_iter().flat_map(|witness| witness.heads);
    left.extend(
        seen.filter(|head| !chain.holds(head) && !chain.is_unknown(head.number) && chain.gone(head.number).is_none()),
    );
    left.drain(..left.len().saturating_sub(limits::WITNESS_HEADS_MAX));
    let witness = Witness { heads, began_by_looking: looked, left, seen: now, vault: macs.vault() };
    sealed::write(&path, macs, Domain::Witness, &witness)
}

/// Keeps a witness that cannot be trusted, under a name that no reader takes for one.
fn set_aside(path: &Path) -> Result<()> {
    let id = Id::random().map_err(|error| Error::environment("draw random bytes", error))?;
    fsys::rename_no_replace(path, &path.with_extension(format!("untrusted-{id}"))).map_err(|error| {
        Refusal::new(Code::StateUnwritable, format!("{} cannot be set aside", shown_path(path))).cause(error).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{Digest, Secret};
    use crate::store::LocalStore;

    fn macs() -> Macs {
        Macs::new(&Secret::from_bytes([1; 32]), Id([2; 16]))
    }

    fn witness() -> Witness {
        Witness {
            heads: vec![Head { digest: Digest([3; 32]), number: 7 }],
            began_by_looking: None,
            left: Vec::new(),
            seen: Time::default(),
            vault: Id([2; 16]),
        }
    }

    #[test]
    fn no_bit_of_a_witness_can_change_unnoticed() {
        let decode = |bytes: &[u8]| sealed::decode::<Witness>(bytes, &macs(), Domain::Witness);
        let bytes = sealed::encode(&witness(), &macs(), Domain::Witness);
        assert_eq!(decode(&bytes), Ok(witness()));
        assert!(sealed::decode::<Witness>(&bytes, &macs(), Domain::Reads).is_err(), "another kind of thing");
        for at in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[at / 8] ^= 1 << (at % 8);
            assert!(decode(&changed).is_err(), "bit {at}");
        }
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err());
        }
    }

    #[test]
    fn a_chain_without_the_witnessed_head_is_behind() {
        let chain = Chain::default();
        assert_eq!(freshness(None, &chain), Freshness::Unproven);
        let behind = freshness(Some(&witness()), &chain);
        assert!(matches!(behind, Freshness::Behind { fork: false, .. }), "{behind:?}");
        assert!(behind.refusal("x").is_some());
    }

    /// A host, and the chain of a vault that holds no record yet.
    fn empty(config: u8) -> (tempfile::TempDir, Host, Chain) {
        let root = tempfile::tempdir().expect("a directory");
        let host = Host::new(root.path().join("config"), root.path().join("state"), root.path().join("data"));
        std::fs::create_dir_all(root.path().join("vault/snapshots")).expect("new");
        let store = LocalStore::open(&root.path().join("vault")).expect("there");
        let chain = Chain::read(&store, &macs(), Some(Digest([config; 32]))).expect("a listing");
        (root, host, chain)
    }

    #[test]
    fn a_witness_is_of_its_vault_and_names_heads_that_ascend() {
        let head = |number| Head { digest: Digest([3; 32]), number };
        let heads = |heads: &[Head]| Witness { heads: heads.to_vec(), ..witness() };
        for good in [heads(&[head(0)]), heads(&[head(6), head(7), head(9)])] {
            assert_eq!(check(good.clone(), &macs()), Ok(good));
        }
        let foreign = Witness { vault: Id([9; 16]), ..witness() };
        for bad in [foreign, heads(&[]), heads(&[head(7), head(7)]), heads(&[head(7), head(6)])] {
            assert!(check(bad.clone(), &macs()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_vault_that_was_empty_and_has_another_configuration_now_is_a_fork() {
        let (_root, _, chain) = empty(5);
        let seen = |config| Head { digest: Digest([config; 32]), number: 0 };
        let of = |heads| freshness(Some(&Witness { heads, ..witness() }), &chain);
        assert_eq!(of(vec![seen(5)]), Freshness::Proven);
        assert_eq!(of(vec![seen(6)]), Freshness::Behind { records: 1, seen: seen(6), fork: true });
    }

    #[test]
    fn a_witness_that_cannot_be_trusted_is_replaced_only_by_a_head_that_somebody_vouches_for_and_kept() {
        let (_root, host, chain) = empty(5);
        let now = Time { seconds: 9, nanos: 0 };
        advance(&host, &macs(), &chain, By::Looking, now).expect("there was none");
        let path = host.witness_path(macs().vault());
        std::fs::write(&path, "damaged").expect("writable");
        let refused = advance(&host, &macs(), &chain, By::Looking, now).expect_err("damaged");
        assert_eq!(refused.code(), Some(Code::WitnessUnreadable));
        assert_eq!(std::fs::read(&path).expect("there"), b"damaged");

        advance(&host, &macs(), &chain, By::Naming, now).expect("somebody vouches");
        let known = read(&host, &macs()).expect("sound").expect("there");
        assert_eq!((known.heads, known.seen), (vec![chain.head()], now));
        let files = std::fs::read_dir(path.parent().expect("a directory")).expect("there");
        let mut files = files.map(|entry| entry.expect("readable").path());
        let kept = files.find(|path| path.to_string_lossy().contains(".untrusted-")).expect("evidence");
        assert_eq!(std::fs::read(kept).expect("there"), b"damaged");
    }

    #[test]
    fn what_looking_began_is_vouched_for_by_a_name_and_not_by_looking_again() {
        let (first, later) = (Time { seconds: 9, nanos: 0 }, Time { seconds: 10, nanos: 0 });
        for by in [By::Making, By::Naming] {
            let (_root, host, chain) = empty(5);
            let fresh = || freshness(read(&host, &macs()).expect("sound").as_ref(), &chain);
            for time in [first, later] {
                advance(&host, &macs(), &chain, By::Looking, time).expect("writable");
                assert_eq!(fresh(), Freshness::Looked { since: first });
            }
            advance(&host, &macs(), &chain, by, later).expect("writable");
            assert_eq!(fresh(), Freshness::Proven);
            advance(&host, &macs(), &chain, By::Looking, later).expect("writable");
            assert_eq!(fresh(), Freshness::Proven);
        }
    }
}
