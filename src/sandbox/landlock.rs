//! Landlock: which files can be read, where TCP may go, and whom a signal may reach.

use std::fs;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, PathBeneath, PathFd,
    RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use super::view::View;
use super::{Notify, Part, Rules};

/// The version whose rights over files are given up. Version 9 adds that to connect to sockets
/// with a path, for which `rules.notify` and the list of calls are enough.
const FILES: ABI = ABI::V5;

/// Where random numbers come from in a program that is linked statically: it cannot look up whether its C
/// library has getrandom(2), and takes the devices.
const RANDOM: [&str; 2] = ["/dev/random", "/dev/urandom"];

/// Restricts this thread; answers what can be read, Landlock's version, and what is not held, and why.
pub(super) fn restrict(rules: &Rules) -> (View, Option<u32>, Vec<(Part, String)>) {
    let all = [Part::Files, Part::Ports, Part::Scopes];
    let mut view = View::default();
    let status = match apply(rules, &mut view) {
        Ok(status) => status,
        Err(error) => return (view, None, all.map(|part| (part, format!("Landlock: {error}"))).to_vec()),
    };
    let abi = match status.landlock {
        LandlockStatus::Available { effective_abi, .. } if status.ruleset != RulesetStatus::NotEnforced => {
            effective_abi
        }
        LandlockStatus::NotEnabled => {
            return (view, None, lacks(&all, "Landlock is not among the kernel's lsm="));
        }
        _ => {
            return (
                view,
                None,
                lacks(&all, "the kernel has no Landlock (Linux 5.13), or does not let it be used"),
            );
        }
    };
    let mut lacking = Vec::new();
    if abi < ABI::V4 {
        lacking.extend(lacks(&[Part::Ports], "the kernel's Landlock is too old (Linux 6.7)"));
    }
    if abi < ABI::V6 {
        lacking.extend(lacks(&[Part::Scopes], "the kernel's Landlock is too old (Linux 6.12)"));
    }
    (view, Some(abi as u32), lacking)
}

fn lacks(parts: &[Part], why: &str) -> Vec<(Part, String)> {
    parts.iter().map(|part| (*part, why.to_owned())).collect()
}

fn apply(rules: &Rules, view: &mut View) -> Result<RestrictionStatus, RulesetError> {
    // Each of these is left out by itself on a kernel that does not know it.
    let ports = match rules.connect {
        Some(_) => AccessNet::BindTcp | AccessNet::ConnectTcp,
        None => AccessNet::BindTcp.into(),
    };
    let scopes = match rules.notify {
        Notify::Abstract => Scope::Signal.into(),
        Notify::Nowhere | Notify::Path => Scope::Signal | Scope::AbstractUnixSocket,
    };
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(FILES))?
        .handle_access(ports)?
        .scope(scopes)?
        .create()?;
    for path in RANDOM {
        // No part of the view: it is not the rules' to say.
        if let Ok(opened) = PathFd::new(path) {
            ruleset = ruleset.add_rule(PathBeneath::new(opened, AccessFs::ReadFile))?;
        }
    }
    for path in &rules.read {
        // What is not there cannot be let in, and who asks for it is told that it is not there.
        let Ok(opened) = PathFd::new(path) else { continue };
        let Ok(metadata) = fs::metadata(path) else { continue };
        let rights: BitFlags<AccessFs> = match metadata.is_dir() {
            true => AccessFs::ReadFile | AccessFs::ReadDir,
            false => AccessFs::ReadFile.into(),
        };
        ruleset = ruleset.add_rule(PathBeneath::new(opened, rights))?;
        view.add(path, &metadata);
    }
    for path in &rules.write {
        let Ok(opened) = PathFd::new(path) else { continue };
        // Files alone, and nothing that is neither: no folder, link, socket or device.
        let rights = AccessFs::ReadFile
            | AccessFs::ReadDir
            | AccessFs::WriteFile
            | AccessFs::Truncate
            | AccessFs::MakeReg
            | AccessFs::RemoveFile;
        ruleset = ruleset.add_rule(PathBeneath::new(opened, rights))?;
    }
    for port in rules.connect.iter().flatten() {
        ruleset = ruleset.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    ruleset.restrict_self()
}
