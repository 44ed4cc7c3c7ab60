//! The limits that control groups set, version 1 and 2, on this process and on every group above it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What the control groups allow; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Limits {
    /// Thousandths of a CPU.
    pub(super) cpu_millis: Option<u64>,
    /// Bytes.
    pub(super) memory: Option<u64>,
}

/// Reads the limits under `root`, which is `/` outside of tests.
pub(super) fn read(root: &Path) -> Limits {
    let Ok(groups) = fs::read_to_string(root.join("proc/self/cgroup")) else { return Limits::default() };
    let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).unwrap_or_default();
    let mut limits = Limits::default();
    // Both versions may be mounted side by side, each with some controllers: the least limit counts.
    for mount in mounts.lines().filter_map(Mount::parse) {
        let Some(group) = groups.lines().find_map(|line| mount.group(line)) else { continue };
        for folder in mount.folders(root, group) {
            limits.cpu_millis = least(limits.cpu_millis, cpu_millis(&folder));
            limits.memory = least(limits.memory, memory(&folder));
        }
    }
    limits
}

/// What this process' own group tells of the use of its CPU quota.
#[derive(Debug)]
pub struct Throttling(File);

impl Throttling {
    /// `None` where there is no quota to be used up.
    pub fn here() -> Option<Self> {
        Self::read_from(Path::new("/"))
    }

    fn read_from(root: &Path) -> Option<Self> {
        let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
        let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).ok()?;
        mounts.lines().filter_map(Mount::parse).find_map(|mount| {
            let group = groups.lines().find_map(|line| mount.group(line))?;
            let folder = mount.folders(root, group).into_iter().next()?;
            cpu_millis(&folder)?;
            // Kept open: a sandbox may have taken the path away by the time it is read.
            let throttling = Self(File::open(folder.join("cpu.stat")).ok()?);
            throttling.periods().is_some().then_some(throttling)
        })
    }

    /// Periods in which the quota was used up.
    pub fn periods(&self) -> Option<u64> {
        let mut text = [0; 1024];
        let length = self.0.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(text.get(..length)?).ok()?;
        text.lines().find_map(|line| line.strip_prefix("nr_throttled "))?.trim().parse().ok()
    }
}

fn least(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a.into_iter().chain(b).min()
}

/// A mounted hierarchy, from a line of `/proc/self/mountinfo` (proc(5)).
struct Mount<'a> {
    /// The group that is mounted.
    group_root: &'a str,
    point: &'a str,
    /// Version 1: the controllers; version 2: none.
    options: Option<&'a str>,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (group_root, point) = (mount.next()?, mount.next()?);
        let mut filesystem = filesystem.split(' ');
        let options = match filesystem.next()? {
            "cgroup2" => None,
            "cgroup" => Some(filesystem.nth(1)?),
            _ => return None,
        };
        Some(Self { group_root, point, options })
    }

    /// This process' group in the hierarchy, if this line of `/proc/self/cgroup` is about it.
    fn group(&self, line: &'a str) -> Option<&'a str> {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, group) = (parts.next()?, parts.next()?, parts.next()?);
        let ours = match self.options {
            None => controllers.is_empty(),
            Some(options) => {
                let mounted = |controller| options.split(',').any(|option| option == controller);
                !controllers.is_empty() && controllers.split(',').all(mounted)
            }
        };
        ours.then_some(group)
    }

    /// The group's folder and all above it, as far as they are mounted.
    fn folders(&self, root: &Path, group: &str) -> Vec<PathBuf> {
        let top = root.join(self.point.trim_start_matches('/'));
        // In a container the mount may begin at the container's own group while the group is named
        // from the host's root; where one is not below the other, only the top can be seen.
        let below = match self.group_root {
            "/" => group,
            mounted => group
                .strip_prefix(mounted)
                .filter(|rest| rest.is_empty() || rest.starts_with('/'))
                .unwrap_or(""),
        };
        let mut folder = top.join(below.trim_matches('/'));
        let mut folders = vec![folder.clone()];
        while folder != top && folder.pop() {
            folders.push(folder.clone());
        }
        folders
    }
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn cpu_millis(folder: &Path) -> Option<u64> {
    let v2 = || {
        let text = fs::read_to_string(folder.join("cpu.max")).ok()?;
        let mut parts = text.split_whitespace();
        Some((parts.next()?.parse::<u64>().ok()?, parts.next()?.parse::<u64>().ok()?))
    };
    // Version 1 writes -1 for no quota, which is no u64.
    let v1 = || Some((number(&folder.join("cpu.cfs_quota_us"))?, number(&folder.join("cpu.cfs_period_us"))?));
    let (quota, period) = v2().or_else(v1)?;
    (period > 0).then(|| quota.saturating_mul(1_000).div_ceil(period))
}

fn memory(folder: &Path) -> Option<u64> {
    let bytes =
        number(&folder.join("memory.max")).or_else(|| number(&folder.join("memory.limit_in_bytes")))?;
    // Version 1 writes the largest number of pages for no limit.
    (bytes < 1 << 60).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::machine::fixture::Fixture;

    const V1: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
        32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n";
    const V2: &str = "31 23 0:28 / /sys/fs/cgroup rw shared:4 master:1 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn version_1_is_read_with_the_groups_above() {
        let files = Fixture::new(
            "v1",
            &[
                ("proc/self/cgroup", "4:memory:/pods/a\n2:cpu,cpuacct:/pods/a\n0::/\n"),
                ("proc/self/mountinfo", V1),
                ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
                ("sys/fs/cgroup/cpu,cpuacct/pods/a/cpu.cfs_quota_us", "150000\n"),
                ("sys/fs/cgroup/cpu,cpuacct/pods/a/cpu.cfs_period_us", "100000\n"),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ("sys/fs/cgroup/memory/pods/memory.limit_in_bytes", "67108864\n"),
                ("sys/fs/cgroup/memory/pods/a/memory.limit_in_bytes", "134217728\n"),
            ],
        );
        assert_eq!(read(files.root()), Limits { cpu_millis: Some(1_500), memory: Some(64 << 20) });
    }

    #[test]
    fn version_2_is_read_with_the_groups_above() {
        let files = Fixture::new(
            "v2",
            &[
                ("proc/self/cgroup", "0::/system.slice/nessen.service\n"),
                ("proc/self/mountinfo", V2),
                ("sys/fs/cgroup/system.slice/cpu.max", "200000 100000\n"),
                ("sys/fs/cgroup/system.slice/memory.max", "max\n"),
                ("sys/fs/cgroup/system.slice/nessen.service/cpu.max", "max 100000\n"),
                ("sys/fs/cgroup/system.slice/nessen.service/memory.max", "268435456\n"),
            ],
        );
        assert_eq!(read(files.root()), Limits { cpu_millis: Some(2_000), memory: Some(256 << 20) });
    }

    #[test]
    fn a_container_without_a_cgroup_namespace_sees_its_group_at_the_mount() {
        let mountinfo = "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let files = Fixture::new(
            "docker",
            &[
                ("proc/self/cgroup", "4:memory:/docker/abc\n"),
                ("proc/self/mountinfo", mountinfo),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "67108864\n"),
            ],
        );
        assert_eq!(read(files.root()), Limits { cpu_millis: None, memory: Some(64 << 20) });
    }

    #[test]
    fn used_up_quotas_are_read_anew_where_there_is_a_quota() {
        let group = "sys/fs/cgroup/system.slice/nessen.service";
        let [max, stat] = ["cpu.max", "cpu.stat"].map(|file| format!("{group}/{file}"));
        let files = |name, quota| {
            let own =
                [("proc/self/cgroup", "0::/system.slice/nessen.service\n"), ("proc/self/mountinfo", V2)];
            let used = "usage_usec 7\nnr_periods 5\nnr_throttled 3\nthrottled_usec 9\n";
            Fixture::new(name, &[&own[..], &[(&max, quota), (&stat, used)]].concat())
        };
        let limited = files("quota", "10000 100000\n");
        let throttling = Throttling::read_from(limited.root()).unwrap();
        assert_eq!(throttling.periods(), Some(3));
        fs::write(limited.root().join(&stat), "nr_periods 6\nnr_throttled 4\n").unwrap();
        assert_eq!(throttling.periods(), Some(4));
        assert!(Throttling::read_from(files("no-quota", "max 100000\n").root()).is_none());
        assert!(Throttling::read_from(Fixture::new("nothing", &[]).root()).is_none());
    }

    #[test]
    fn a_machine_without_control_groups_has_no_limits() {
        let files = Fixture::new("none", &[]);
        assert_eq!(read(files.root()), Limits::default());
    }
}
