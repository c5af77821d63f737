"""Words that the generators of phrases draw from."""


def _words(text: str) -> tuple[str, ...]:
    """Words, with "_" for a space inside one."""
    return tuple(word.replace("_", " ") for word in text.split())


FIRST_NAMES = _words("""
    james mary robert patricia john jennifer michael linda david elizabeth william barbara richard susan
    joseph jessica thomas sarah charles karen christopher lisa daniel nancy matthew betty anthony margaret
    mark sandra donald ashley steven kimberly paul emily andrew donna joshua michelle kenneth carol kevin
    amanda brian melissa george deborah timothy stephanie ronald rebecca edward sharon jason laura jeffrey
    cynthia ryan kathleen jacob amy gary angela nicholas shirley eric anna jonathan brenda stephen pamela
    larry emma justin nicole scott helen brandon samantha benjamin katherine samuel christine gregory
    debra frank rachel raymond catherine alexander carolyn patrick janet jack ruth dennis maria jerry
    heather tyler diane aaron virginia jose julie henry joyce adam victoria nathan olivia zachary kelly
    walter lauren kyle christina noah sophia ethan isabella jeremy oliver charlotte carl mia keith amelia
    roger harper austin evelyn arthur abigail glenn philip vivian louis quentin xavier yolanda yvonne zoe
    ursula vincent aarav aditya amit anil anjali ankit ananya arun ashok deepa deepak divya gaurav geeta
    harish isha jaya karan kavita kiran krishna lakshmi manish meera mohan neha nikhil nisha pooja pradeep
    pranav priya rahul rajesh ramesh ravi rekha ritu rohan sachin sandeep sanjay shreya sneha sunil sunita
    suresh swati tanvi uma varun vijay vikram vinod yash akshay bhavana chandra dinesh gopal wei li fang
    jing yan hao chen mei ling xin yuki kenji hiro sakura min jun sung hye carlos luis diego sofia camila
    mateo lucia pablo elena miguel fatima omar ali hassan aisha leila ahmed ibrahim zainab olga ivan
    dmitri natasha lars ingrid bjorn astrid hans greta pierre claire amara kofi chidi ngozi
    """)
LAST_NAMES = _words("""
    smith johnson williams brown jones miller davis wilson anderson thomas taylor moore jackson martin lee
    thompson white harris clark lewis robinson walker young allen king wright scott hill green adams baker
    nelson hall campbell mitchell carter roberts phillips evans turner parker collins edwards stewart
    morris murphy cook rogers morgan cooper peterson reed bailey bell kelly howard ward cox richardson
    wood watson brooks bennett gray hughes price myers long foster sanders ross powell sullivan russell
    ortiz jenkins perry butler barnes fisher henderson coleman simmons patterson jordan reynolds hamilton
    graham wallace cole west jefferson whitfield satterfield quigley xiong zimmerman zapata vaughn vasquez
    underwood o'brien o'connor macdonald mcgregor fitzgerald patel sharma kumar singh gupta shah reddy rao
    iyer nair menon joshi kulkarni deshpande patil chatterjee banerjee mukherjee das bose ghosh sen mehta
    desai trivedi pandey mishra tiwari verma yadav chauhan rathore kapoor malhotra khanna chopra bhatia
    agarwal jain srinivasan krishnan subramaniam venkatesh pillai naidu gowda hegde shetty garcia
    rodriguez martinez hernandez lopez gonzalez perez sanchez ramirez torres flores rivera gomez diaz cruz
    wang li zhang liu chen yang huang zhao wu zhou nguyen tran pham kim park choi tanaka suzuki sato
    yamamoto mueller schmidt schneider fischer weber wagner becker hoffmann dubois moreau laurent rossi
    ferrari bianchi novak kowalski ivanov petrov andersson johansson hansen khan ahmed hussain ali rahman
    okafor mensah
    """)
MONTHS = _words("january february march april may june july august september october november december")
PLACES = _words("""
    oak pine maple cedar elm walnut chestnut willow birch ash spruce hickory magnolia cherry apple orchard
    juniper laurel holly ivy rose lily main high church park lake river hill forest spring valley meadow
    garden sunset sunrise washington lincoln jefferson madison franklin jackson highland ridge mill bridge
    center central market college school university station railroad canal harbor ocean beach bay island
    mountain prairie canyon desert stone rock sand crystal silver golden copper iron eagle hawk falcon
    dove robin deer fox bear wolf beaver victoria queen king prince duke castle abbey manor temple chapel
    cross court liberty union state commerce north south east west northern western fairview lakeview
    hillcrest woodland greenwood brookside riverside cambridge oxford windsor kensington wellington nelson
    gandhi nehru station_road mahatma lotus jasmine shivaji heather clover fern moss bluff cliff grove
    glen dale forbes ellsworth penn murray beacon shady squirrel
    """)
STREETS = _words("""
    street street street road road road avenue avenue lane drive drive court place boulevard way terrace
    circle square parkway crescent colony nagar society highway trail close
    """)
CITIES = _words("""
    new_york los_angeles chicago houston phoenix philadelphia san_antonio san_diego dallas austin
    jacksonville columbus charlotte indianapolis seattle denver boston nashville detroit portland memphis
    louisville baltimore milwaukee albuquerque tucson fresno sacramento atlanta miami oakland minneapolis
    tulsa tampa cleveland pittsburgh cincinnati buffalo rochester syracuse albany hartford providence
    richmond norfolk raleigh durham savannah orlando london manchester birmingham liverpool leeds glasgow
    edinburgh dublin cardiff bristol mumbai delhi bangalore hyderabad chennai kolkata pune ahmedabad
    jaipur lucknow kanpur nagpur indore bhopal surat vadodara nashik goa mysore kochi toronto vancouver
    montreal ottawa sydney melbourne perth auckland
    """)
STATES = _words("""
    alabama alaska arizona arkansas california colorado connecticut delaware florida georgia hawaii idaho
    illinois indiana iowa kansas kentucky louisiana maine maryland massachusetts michigan minnesota
    mississippi missouri montana nebraska nevada new_hampshire new_jersey new_mexico new_york
    north_carolina north_dakota ohio oklahoma oregon pennsylvania rhode_island south_carolina south_dakota
    tennessee texas utah vermont virginia washington west_virginia wisconsin wyoming maharashtra gujarat
    karnataka kerala punjab rajasthan england scotland wales
    """)
THINGS = _words("""
    computer speech recognition keyboard window garden kitchen bicycle elephant mountain orange yellow
    purple zebra question answer project student teacher doctor hospital library restaurant breakfast
    dinner coffee sugar bottle paper pencil picture camera telephone message letter number address account
    password system network machine science physics chemistry biology history music guitar violin piano
    theater movie ticket airport airplane train station subway taxi engine wheel bridge tunnel castle
    palace village city country island ocean river jungle quartz jazz fizz buzz oxygen exit express
    xylophone vertex matrix equal quick quiet quiz quote yacht wizard jacket object major injury vivid
    velvet value river wave twelve fifteen eighty hundred thousand
    """)
ROOMS = _words("""
    kitchen bedroom living_room bathroom garage hallway office dining_room basement attic garden porch
    nursery study
    """)
DEVICES = _words("""
    lights lamp fan heater television radio speaker thermostat alarm oven dishwasher washing_machine
    air_conditioner camera door_lock blinds curtains music vacuum coffee_machine
    """)
DRINKS = _words("""
    coffee espresso cappuccino latte americano mocha flat_white macchiato cold_brew hot_chocolate
    green_tea black_tea chai_latte iced_tea iced_coffee lemonade orange_juice water cortado frappe
    """)
EXTRAS = _words("""
    oat_milk almond_milk soy_milk skimmed_milk whole_milk whipped_cream caramel_syrup vanilla_syrup
    hazelnut_syrup cinnamon sugar honey ice no_sugar extra_foam an_extra_shot no_ice no_milk sweetener
    cocoa_powder
    """)
FOODS = _words("""
    croissant muffin bagel cookie brownie sandwich cheesecake doughnut banana_bread salad pizza burger
    toast pancakes scone cinnamon_roll panini
    """)
