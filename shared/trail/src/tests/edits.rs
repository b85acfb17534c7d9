//! A thousand random edits of rows.

use halcyon_domain::{audit::FaultKind, hex::Hex};

use super::{EVERY, Random, Trail, keys, link};
use crate::{Report, SigningKeys, Verifier};

const LENGTH: i64 = 200;

fn verify(trail: &Trail, outside: Option<&Trail>, keys: &SigningKeys) -> Report {
    let mut verifier = Verifier::new(trail.organization, Trail::trusted(keys));
    if let Some(kept) = outside.and_then(|outside| outside.checkpoints.last()) {
        verifier.outside(kept.clone());
    }
    for checkpoint in &trail.checkpoints {
        verifier.checkpoint(checkpoint.clone());
    }
    for link in &trail.links {
        verifier.entry(link.clone());
    }
    verifier.finish(true)
}

/// What was done, and where: the entry that is to be named.
struct Edit {
    name: &'static str,
    place: i64,
    kinds: &'static [FaultKind],
}

const KINDS: usize = 16;

/// Does one of the edits at a random place.
fn edit(trail: &mut Trail, kind: usize, random: &mut Random, other: &SigningKeys) -> Edit {
    use FaultKind::{
        Changed, CutTail, Deleted, DeletedCheckpoint, ForgedCheckpoint, Inserted, Rehashed, Reordered,
    };
    let at = random.below(LENGTH as usize - 1);
    let place = at as i64 + 1;
    let edit = |name, place, kinds| Edit { name, place, kinds };
    match kind {
        0 => {
            let byte = random.below(trail.links[at].body.len());
            let mut body = trail.links[at].body.clone().into_bytes();
            body[byte] = if body[byte] == b'x' { b'y' } else { b'x' };
            trail.links[at].body = String::from_utf8(body).unwrap();
            edit("text", place, &[Changed])
        }
        1 => {
            trail.links[at].hash[random.below(32)] ^= 1 << random.below(8);
            edit("hash", place, &[Changed])
        }
        2 => {
            if at == 0 {
                trail.links[at].prev_hash.push(7);
            } else {
                trail.links[at].prev_hash[random.below(32)] ^= 1 << random.below(8);
            }
            edit("hash before", place, &[Changed])
        }
        3 => {
            trail.links.remove(at);
            edit("deleted", place, &[Deleted])
        }
        4 => {
            trail.links.remove(at);
            trail.renumber();
            edit("deleted and renumbered", place, &[Deleted])
        }
        5 => {
            let previous = at.checked_sub(1).map_or_else(Vec::new, |before| trail.links[before].hash.clone());
            let old = &trail.links[at];
            let forged = link(trail.organization, place, &previous, old.id, "{\"forged\":true}".into());
            trail.links.insert(at, forged);
            trail.renumber();
            edit("inserted", place, &[Inserted, Rehashed])
        }
        6 => {
            let copy = trail.links[random.below(LENGTH as usize)].clone();
            trail.links.insert(at, copy.clone());
            trail.renumber();
            let same = copy.hash == trail.links[at + 1].hash;
            edit("copied in", if same { place + 1 } else { place }, &[Reordered, Inserted, Changed])
        }
        7 => {
            let to = (at + 1 + random.below(LENGTH as usize - 1)) % LENGTH as usize;
            trail.links.swap(at, to);
            trail.renumber();
            edit("swapped", place.min(to as i64 + 1), &[Reordered])
        }
        8 => {
            let previous = trail.links[at].prev_hash.clone();
            let old = trail.links[at].clone();
            let body = old.body.replace("ann", "eve");
            trail.links[at] = link(trail.organization, place, &previous, old.id, body);
            edit("hashed anew", place, &[Rehashed])
        }
        9 => {
            trail.links[at].body = trail.links[at].body.replace("ann", "eve");
            trail.rehash_from(at);
            edit("hashed anew to the end", place, &[Rehashed])
        }
        10 => {
            trail.links.truncate(at + 1);
            edit("cut", place + 1, &[CutTail])
        }
        11 => {
            // The last checkpoint is known elsewhere.
            trail.links.truncate(at + 1);
            trail.checkpoints.retain(|checkpoint| checkpoint.sequence <= place);
            edit("cut with its checkpoints", place + 1, &[CutTail])
        }
        12 => {
            let index = random.below(trail.checkpoints.len());
            let checkpoint = &mut trail.checkpoints[index];
            checkpoint.signature.0[random.below(64)] ^= 1 << random.below(8);
            edit("signature", checkpoint.sequence, &[ForgedCheckpoint])
        }
        13 => {
            let index = random.below(trail.checkpoints.len());
            let place = trail.checkpoints[index].sequence;
            trail.checkpoints[index].key = other.newest().id().to_owned();
            edit("key", place, &[ForgedCheckpoint])
        }
        14 => {
            let index = random.below(trail.checkpoints.len() - 1);
            trail.checkpoints.remove(index);
            edit("checkpoint", trail.checkpoints[index].sequence, &[DeletedCheckpoint])
        }
        _ => {
            // All is made anew, and signed by a key that nobody trusts.
            trail.links[at].body = trail.links[at].body.replace("ann", "eve");
            trail.rehash_from(at);
            let made: Vec<i64> = trail.checkpoints.iter().map(|checkpoint| checkpoint.sequence).collect();
            trail.checkpoints.clear();
            for sequence in made {
                trail.checkpoint(sequence, other);
            }
            edit("all of it", EVERY, &[ForgedCheckpoint])
        }
    }
}

#[test]
fn a_thousand_of_a_thousand_random_edits_are_located() {
    let (keys, other) = (keys(), keys());
    let good = Trail::new(LENGTH, &keys);
    let report = verify(&good, Some(&good), &keys);
    assert_eq!(report.fault, None);
    assert_eq!((report.entries, report.last, report.confirmed), (LENGTH, LENGTH, LENGTH));
    let mut random = Random(0x5eed);
    let mut located = 0;
    for round in 0..1_000 {
        let mut trail = good.clone();
        let edit = edit(&mut trail, round % KINDS, &mut random, &other);
        let report = verify(&trail, Some(&good), &keys);
        let fault = report.fault.unwrap_or_else(|| panic!("{round}: {} at {} is not seen", edit.name, edit.place));
        let found = (fault.sequence..=fault.through.unwrap_or(fault.sequence)).contains(&edit.place);
        assert!(found, "{round}: {} at {} is taken for {fault:?}", edit.name, edit.place);
        assert!(edit.kinds.contains(&fault.kind), "{round}: {} is taken for {fault:?}", edit.name);
        located += 1;
    }
    assert_eq!(located, 1_000);
}

/// Without checkpoints a rewritten trail looks whole: they are what shows it.
#[test]
fn what_only_checkpoints_show() {
    let keys = keys();
    let good = Trail::new(40, &keys);
    let mut rewritten = good.clone();
    rewritten.links[3].body = rewritten.links[3].body.replace("ann", "eve");
    rewritten.rehash_from(3);
    rewritten.checkpoints.clear();
    let report = verify(&rewritten, None, &keys);
    assert_eq!((report.fault, report.confirmed), (None, 0), "nothing is confirmed");
    let fault = verify(&rewritten, Some(&good), &keys).fault.unwrap();
    assert_eq!((fault.kind, fault.sequence, fault.through), (FaultKind::Rehashed, 1, Some(40)));
    // A hash that is made anew alone is located to the entry by the checkpoint right behind it.
    let mut alone = good.clone();
    let at = EVERY as usize - 1;
    let old = alone.links[at].clone();
    let body = old.body.replace("ann", "eve");
    alone.links[at] = link(alone.organization, EVERY, &old.prev_hash, old.id, body);
    let fault = verify(&alone, None, &keys).fault.unwrap();
    assert_eq!((fault.kind, fault.sequence, fault.through), (FaultKind::Rehashed, EVERY, None));
    // A newer checkpoint elsewhere than in the trail.
    let mut shorter = good.clone();
    shorter.checkpoints.pop();
    let fault = verify(&shorter, Some(&good), &keys).fault.unwrap();
    assert_eq!(fault.kind, FaultKind::DeletedCheckpoint);
}

#[test]
fn a_trail_cannot_be_passed_off_as_another_organisations() {
    let keys = keys();
    let (one, mut other) = (Trail::new(5, &keys), Trail::new(5, &keys));
    other.links.clone_from(&one.links);
    assert_eq!(verify(&other, None, &keys).fault.unwrap().sequence, 1);
    other.links.clear();
    other.checkpoints.clone_from(&one.checkpoints);
    assert_eq!(verify(&other, None, &keys).fault.unwrap().kind, FaultKind::ForgedCheckpoint);
    other.checkpoints[0].hash = Hex(Vec::new());
    assert!(verify(&other, None, &keys).fault.is_some());
}
