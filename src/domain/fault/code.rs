//! The codes of faults: what each means, and how it is mended. A code never changes once it is used.

use super::Severity;

macro_rules! codes {
    ($($name:ident $text:literal $severity:ident $meaning:literal $fix:literal)+) => {
        /// What kind of fault it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $meaning] $name,)+
        }

        impl Code {
            /// All codes, in the order of docs/checks.md.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The code as it is written, for example `unknown-annotation`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// What it says of a file, in half a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)+ }
            }

            /// How it is mended, in a sentence without its full stop.
            pub fn fix(self) -> &'static str {
                match self { $(Self::$name => $fix,)+ }
            }

            /// How much it weighs unless a check says otherwise.
            pub fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)+ }
            }
        }
    };
}

codes! {
    Syntax "syntax" Error
        "the file is not written in its language"
        "mend the text at the place, as the message says"
    MissingFile "missing-file" Error
        "a file that the realm needs is not there"
        "add the file, or mend the name under which another file asks for it"
    UnknownKey "unknown-key" Error
        "a key that nothing reads: most often a slip of the keyboard"
        "write one of the keys that the message lists, or take the key out"
    MissingKey "missing-key" Error
        "a key that must be there is not"
        "add the key"
    WrongType "wrong-type" Error
        "a value is of another type than its key takes"
        "write a value of the type that the message names"
    Schema "schema" Error
        "the schema is at fault: a type that is not declared, a name that stands twice"
        "declare what is missing, or mend the name"
    UnknownEntityType "unknown-entity-type" Error
        "an entity type that the schema does not declare"
        "write one that it declares, or declare it in schema.cedarschema"
    UnknownAction "unknown-action" Error
        "an action that the schema does not declare"
        "write one that it declares, or declare it in schema.cedarschema"
    UnknownAttribute "unknown-attribute" Error
        "an attribute that the type does not have"
        "write one that it has, or declare it in schema.cedarschema"
    OptionalAttribute "optional-attribute" Error
        "an attribute that may be absent is read without asking for it first"
        "ask with `has` before it, joined by `&&`: a policy that fails to read it does not count"
    TypeError "type-error" Error
        "an operator gets a value of a type that it does not take"
        "compare values of one type; the message says which was expected"
    NotApplicable "not-applicable" Error
        "no action in the scope applies to a principal and a resource of the scope's types"
        "name types that the action's `appliesTo` lists, or add them there"
    Template "template" Error
        "a policy with slots, which nothing here fills"
        "write a policy for each entity, or compare with an attribute"
    UnknownAnnotation "unknown-annotation" Error
        "an annotation that means nothing here, so that what it was to say is lost"
        "write one of those that the message lists"
    BadAnnotation "bad-annotation" Error
        "an annotation whose value does not have its form"
        "write the value as the message says"
    MissingId "missing-id" Error
        "a policy without a name: answers, tests and the log call it by that"
        "write `@id(\"…\")` before it"
    DuplicateId "duplicate-id" Error
        "two policies of one name"
        "give one of them another name"
    UnknownName "unknown-name" Error
        "a name that nothing declares: a denial, an obligation, a relation, an attribute"
        "write one that is declared, or declare it"
    Unmet "unmet" Error
        "two files of the realm contradict each other"
        "change the one or the other so that both fit"
    Untrusted "untrusted" Error
        "what a policy or the schema needs comes from callers, who are not believed it"
        "have records say it (`[items]`), list it in `[trusted]` of realm.toml, or do without it"
    MootStrategy "moot-strategy" Error
        "a strategy under which less would be checked than realm.toml says"
        "write the policy for it, or change what `grants.strategies` lists"
    Secret "secret" Error
        "a secret: whoever can read the realm's files has it, and so has the log of versions"
        "take it out, make a new one, and keep that in a file or variable of the deployment"
    FailingTest "failing-test" Error
        "a case of the realm's own tests fails"
        "mend the policy, or the case if the new answer is what you want"
    RealmFile "realm-file" Error
        "realm.toml says something that does not fit"
        "change it as the message says"
    RelationsFile "relations-file" Error
        "relations.toml says something that does not fit"
        "change it as the message says"
    TestFile "test-file" Error
        "a file of tests cannot be read"
        "change it as the message says"
    DataFile "data-file" Error
        "a table, a file of aliases, grants or profiles cannot be read"
        "change it as the message says"
    Variant "variant" Error
        "a variant changes what is not there, or cannot be read"
        "name a file of the realm in it"
    Configuration "configuration" Error
        "a file or a folder beside the realm's own is at fault"
        "change it as the message says"
    NoPolicies "no-policies" Warning
        "the realm has no policy, so everything is denied"
        "write a policy into a file that ends in `.cedar`"
    NeverApplies "never-applies" Warning
        "a policy that can never apply: its conditions contradict the schema, each other or themselves"
        "mend the condition that is marked, or take the policy out"
    AlwaysForbidden "always-forbidden" Warning
        "a permit that counts for nothing: wherever it applies a forbid does too"
        "narrow the forbid with `unless`, or take the permit out"
    ShadowedPolicy "shadowed-policy" Warning
        "a permit that changes no answer: another one permits all that it permits"
        "take it out, or narrow the wider one"
    DuplicatePolicy "duplicate-policy" Warning
        "two policies that say the same"
        "take one of them out"
    RepeatedCondition "repeated-condition" Warning
        "a condition that the policy has already"
        "take one of both out; was another attribute meant?"
    UnconditionalPermit "unconditional-permit" Warning
        "a permit without a condition: whoever has any token that the scope takes may do it, to every resource"
        "add a `when`, name an entity in the scope, or say why it is meant: `@accept(\"unconditional-permit: …\")`"
    NeverPermitted "never-permitted" Warning
        "an action that no permit takes, so that it is always denied"
        "write a permit for it, or take the action out of the schema"
    UnknownStrategy "unknown-strategy" Warning
        "a policy asks for a strategy that `grants.strategies` does not list, so that it is never in force"
        "write one that is listed, or list it"
    MisleadingText "misleading-text" Warning
        "a text or a name that does not read as it is: letters of two scripts, or marks that turn the direction of writing"
        "write it anew with plain letters"
    IneffectiveAnnotation "ineffective-annotation" Warning
        "an annotation that has no effect on this policy"
        "take it out, or move it to the policy that it is about"
    NeedlessAccept "needless-accept" Warning
        "an `@accept` of something that is not found here"
        "take it out"
    UnusableGrant "unusable-grant" Warning
        "a grant that cannot be used: requests that meet it are refused as a configuration error"
        "change the strategies of the claim, or what realm.toml says of them"
    UnknownClaim "unknown-claim" Warning
        "a claim of the grants that belongs to no resource type"
        "mend its name, or take it out"
    UnclaimedType "unclaimed-type" Warning
        "a resource type whose claim the grants do not have"
        "add the claim to the grants, or mend its name"
    UngrantableAction "ungrantable-action" Warning
        "the grants name an action that the schema does not declare"
        "write one that it declares"
    InvalidProfile "invalid-profile" Warning
        "a definition of a profile that does not count"
        "change it as the message says"
    UnusedRelation "unused-relation" Warning
        "no policy asks for what the relation says"
        "take it out, or write the policy that was to ask"
    UnusedEntityType "unused-entity-type" Warning
        "an entity type that nothing mentions"
        "take it out of the schema"
    UnusedClaim "unused-claim" Warning
        "an attribute is filled from a claim, and nothing reads it"
        "take it out, or write the policy that was to read it"
    UnusedContext "unused-context" Warning
        "a member of the context is made for every question, and nothing reads it"
        "take the table `[context.…]` out, or write the policy that was to read it"
    UnusedSetting "unused-setting" Warning
        "a setting that no policy reads"
        "take it out, or write the policy that was to read it"
    UnusedDenial "unused-denial" Warning
        "a denial whose code no policy gives"
        "name it in a policy's `@denial`, write the code as the policy does, or take it out"
    UnusedAlias "unused-alias" Warning
        "an alias stands for a name that nothing in the realm mentions"
        "mend the name, or take the alias out"
    UnmappedOperation "unmapped-operation" Warning
        "an operation of the API of which nothing says what it asks for, so that it is always denied"
        "name it in `[routes.operations.NAME]`, or call an action of the schema as its operationId"
    UnreadFile "unread-file" Warning
        "a file of the realm's folder that nothing reads"
        "mend its name or its place, or take it out"
    Other "other" Error
        "a fault of a kind that this program does not know"
        "change it as the message says"
}

impl Code {
    /// The code of this name; `None` for one that is unknown.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == name)
    }

    /// What a fault of a file is, where nothing more is known of it.
    pub(super) fn of_file(path: &str) -> Self {
        let name = path.rsplit('/').next().unwrap_or(path);
        let has = |ending: &str| path.ends_with(ending);
        match name {
            "realm.toml" => Self::RealmFile,
            "relations.toml" => Self::RelationsFile,
            _ if path.contains("variants/") && has(".toml") => Self::Variant,
            _ if has(".cedarschema") => Self::Schema,
            _ if has(".cedar") => Self::TypeError,
            _ if has(".yaml") || has(".yml") => Self::TestFile,
            _ if has(".json") || has(".xml") => Self::DataFile,
            _ => Self::Configuration,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_kebab_case_and_differ() {
        let names: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.as_str().chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{code:?}");
            assert_eq!(Code::of(code.as_str()), Some(*code));
            assert!(!code.meaning().is_empty() && !code.fix().ends_with('.'), "{code:?}");
        }
        assert_eq!(Code::of("nothing"), None);
    }
}
