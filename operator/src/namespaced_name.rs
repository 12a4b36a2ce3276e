//! An object's namespace and name.

use kube::{Resource, runtime::reflector::ObjectRef};
use std::fmt;

/// The namespace and name of an object of a known kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NamespacedName {
    /// The namespace.
    pub(crate) namespace: String,
    /// The name.
    pub(crate) name: String,
}

/// The object lacks a name, a namespace or a uid. No API server sends one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the object has no name, namespace or uid")]
pub(crate) struct UnnamedObject;

impl NamespacedName {
    /// The object of this name in this namespace.
    pub(crate) fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The namespace and name of an object.
    ///
    /// # Errors
    /// [`UnnamedObject`] if one of the two is absent.
    pub(crate) fn of(object: &impl Resource) -> Result<Self, UnnamedObject> {
        let meta = object.meta();
        let (namespace, name) = meta.namespace.as_ref().zip(meta.name.as_ref()).ok_or(UnnamedObject)?;
        Ok(Self::new(namespace, name))
    }

    /// A reference to the object of kind `K`, as controllers queue it.
    pub(crate) fn object_ref<K: Resource<DynamicType = ()>>(&self) -> ObjectRef<K> {
        ObjectRef::new(&self.name).within(&self.namespace)
    }
}

impl fmt::Display for NamespacedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
