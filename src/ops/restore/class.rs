//! Classes of what a restore keeps: each can be given up by name, and only by name.

use std::fmt;
use std::str::FromStr;

use crate::format::entry::Kind;
use crate::fsys::access_list;

macro_rules! classes {
    ($($name:ident = $text:literal, $doc:literal;)*) => {
        /// A class of metadata, or of objects that not every target can hold.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Class { $(#[doc = $doc] $name,)* }

        impl Class {
            /// Every class, in the order of their names.
            pub const ALL: &'static [Class] = &[$(Self::$name,)*];

            /// Returns the name by which the class is given up.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

classes! {
    Acl = "acl", "POSIX access control lists.";
    Capability = "capability", "File capabilities.";
    Created = "created", "The time of creation.";
    Device = "device", "Block and character devices.";
    Flags = "flags", "Flags of macOS, attributes of Windows.";
    Hardlink = "hardlink", "That several names are one object; each becomes an object of its own.";
    Junction = "junction", "Junctions of Windows.";
    Mode = "mode", "Permission bits.";
    Owner = "owner", "User and group.";
    Security = "security", "Labels of the system's security modules, and attributes that only the superuser sees.";
    Sparse = "sparse", "Holes in files; they become zeros.";
    Special = "special", "Named pipes and sockets.";
    Stream = "stream", "Alternate data streams of Windows.";
    Symlink = "symlink", "Symbolic links.";
    Time = "time", "The time of the last modification.";
    Xattr = "xattr", "Extended attributes of no other class.";
}

impl Class {
    /// Returns the class by which objects of a kind can be given up, if they can.
    pub(super) fn of_kind(kind: &Kind) -> Option<Self> {
        match kind {
            Kind::Directory | Kind::File(_) => None,
            Kind::Symlink(_) => Some(Self::Symlink),
            Kind::Junction(_) => Some(Self::Junction),
            Kind::Fifo | Kind::Socket => Some(Self::Special),
            Kind::Block(..) | Kind::Character(..) => Some(Self::Device),
        }
    }

    /// Returns the class of an extended attribute.
    pub fn of_xattr(name: &[u8]) -> Self {
        match name {
            access_list::ACCESS | access_list::DEFAULT => Self::Acl,
            b"security.capability" => Self::Capability,
            _ if name.starts_with(b"security.") || name.starts_with(b"trusted.") => Self::Security,
            _ => Self::Xattr,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Class {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|class| class.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|class| class.name()).collect();
            format!("the classes are {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_found_by_its_name_and_they_are_in_order() {
        for class in Class::ALL {
            assert_eq!(class.name().parse(), Ok(*class));
        }
        assert!(Class::ALL.windows(2).all(|pair| pair[0].name() < pair[1].name()));
        assert!("everything".parse::<Class>().is_err());
    }

    #[test]
    fn attributes_have_the_class_of_what_they_mean() {
        assert_eq!(Class::of_xattr(b"user.note"), Class::Xattr);
        assert_eq!(Class::of_xattr(b"security.capability"), Class::Capability);
        assert_eq!(Class::of_xattr(b"security.selinux"), Class::Security);
        assert_eq!(Class::of_xattr(b"system.posix_acl_default"), Class::Acl);
    }
}
