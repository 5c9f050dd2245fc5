use apollo_compiler::Schema;
use apollo_compiler::schema::ExtendedType;
use apollo_compiler::validation::Valid;

/// The GraphQL language with the types of the schema.
pub(crate) struct Language {
    pub(super) schema: Valid<Schema>,
}

impl Language {
    /// Parses the SDL of the schema that the code defines.
    pub(crate) fn new() -> Self {
        let schema = Schema::parse_and_validate(crate::schema::sdl(), "schema.graphql")
            .map_err(|problems| problems.errors.to_string())
            .expect("the schema is generated from the code, and the tests read it");
        Self { schema }
    }

    /// Returns the possible object types of a composite type.
    pub(super) fn objects(&self, name: &str) -> Vec<String> {
        match self.schema.types.get(name) {
            Some(ExtendedType::Union(union)) => {
                union.members.iter().map(|member| member.name.to_string()).collect()
            }
            Some(ExtendedType::Interface(_)) => {
                let objects = self.schema.types.values().filter_map(ExtendedType::as_object);
                let implementing = objects.filter(|object| {
                    object.implements_interfaces.iter().any(|interface| interface.name == *name)
                });
                implementing.map(|object| object.name.to_string()).collect()
            }
            _ => vec![name.to_owned()],
        }
    }
}
